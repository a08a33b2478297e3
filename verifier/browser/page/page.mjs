// The page: takes files, runs the checks, shows each as it ends. No network: the page's policy forbids it.
// Texts go in as text nodes only; what a receipt says is never markup.
import { Refused } from "../errors.mjs";
import { hashDocument } from "../hashes.mjs";
import { verifyLines } from "../protocol.mjs";
import { parseReceipt } from "../receiptforms.mjs";
import { canonicalText } from "../strictjson.mjs";
import { parseTrust } from "../trust.mjs";
import { say } from "./texts.mjs";

const MOST_BYTES = (1 << 20) + 1; // One more than a receipt may have, so that a longer one is refused as such.
const ROLES = ["receipt", "trust", "document"];
const CHINA = { timeZone: "Asia/Shanghai", dateStyle: "medium", timeStyle: "medium" };

const at = (id) => document.getElementById(id);
const files = { receipt: null, trust: null, document: null };
let lang = navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en";
let lines = []; // What the last run said, to be shown again in another language.
let shown = []; // The fields of its receipt.
let problem = "";
let current = null; // The run whose lines these are.

class Problem extends Error {}

function render() {
  document.documentElement.lang = lang === "zh" ? "zh-Hans" : "en";
  document.title = say("words", "title", lang);
  for (const each of document.querySelectorAll("[data-text]"))
    each.textContent = say("words", each.dataset.text, lang);
  for (const each of document.querySelectorAll("[data-label]"))
    each.setAttribute("aria-label", say("words", each.dataset.label, lang));
  for (const each of document.querySelectorAll("[data-lang]"))
    each.setAttribute("aria-pressed", String(each.dataset.lang === lang));
  for (const role of ROLES) at(`${role}-name`).textContent = files[role]?.name ?? "";
  at("problem").textContent = problem && say("words", problem, lang);
  renderResult();
}

function renderResult() {
  const [plan, ...rest] = lines;
  at("result").hidden = plan === undefined;
  const ended = rest.find((line) => line.type === "verdict");
  at("verdict").textContent = ended ? say("verdicts", ended.verdict, lang) : say("words", "waiting", lang);
  at("verdict").className = ended ? outcomeOf(ended.exit) : "";
  at("verdict").dataset.verdict = ended?.verdict ?? "";
  at("as-of").textContent = ended?.asOfBlock === undefined ? "" : asOf(ended);
  const checks = (plan?.checks ?? []).map((code) =>
    checkItem(
      code,
      rest.find((line) => line.code === code),
      ended
    )
  );
  at("checks").replaceChildren(...checks);
  at("fields").replaceChildren(...shown.flatMap(fieldItems));
}

const outcomeOf = (exit) => (exit === 0 ? "pass" : exit === 11 ? "unproven" : "fail");

function asOf({ asOfBlock, asOfTime }) {
  const time = new Date(asOfTime * 1000);
  const text = Number.isNaN(time.getTime())
    ? String(asOfTime)
    : time.toLocaleString(lang === "zh" ? "zh-CN" : "en-GB", CHINA);
  return say("words", "asOf", lang).replace("{block}", asOfBlock).replace("{time}", text);
}

function checkItem(code, line, ended) {
  const item = document.createElement("li");
  item.dataset.code = code;
  if (line) Object.assign(item.dataset, { outcome: line.outcome, detail: line.detail });
  const state = document.createElement("strong");
  state.className = line?.outcome ?? "";
  const waiting = say("words", ended ? "notRun" : "waiting", lang);
  state.textContent = line ? say("outcomes", line.outcome, lang) : waiting;
  const detail = line ? ` — ${say("details", line.detail, lang)}` : "";
  item.append(`${say("checks", code, lang)}: `, state, detail);
  return item;
}

function fieldItems([name, value]) {
  const [term, definition] = [document.createElement("dt"), document.createElement("dd")];
  term.textContent = name;
  definition.textContent = typeof value === "string" ? value : canonicalText(value);
  return [term, definition];
}

async function check(event) {
  event.preventDefault();
  const run = Symbol("run");
  [current, lines, shown, problem] = [run, [], [], ""];
  render(); // Nothing of an earlier receipt may stand beside this one.
  try {
    const { trust, ...asked } = await question();
    const receipt = await read(files.receipt);
    if (run === current) await stream(run, receipt, trust, asked);
  } catch (error) {
    if (run !== current) return;
    [lines, shown] = [[], []];
    problem = error instanceof Problem ? error.message : "unreadable";
    render();
  }
}

/** Shows each line before the next check begins; ends when another run has begun. */
async function stream(run, receipt, trust, asked) {
  shown = fieldsOf(receipt);
  for (const line of verifyLines(receipt, trust, asked)) {
    lines.push(line);
    renderResult();
    await new Promise((resume) => setTimeout(resume));
    if (run !== current) return;
  }
}

async function question() {
  if (files.receipt === null) throw new Problem("needReceipt");
  if (files.trust === null) throw new Problem("needTrust");
  return {
    trust: trusted(await read(files.trust)),
    at: Date.now() / 1000,
    maxAgeS: maxAge(),
    issuer: at("issuer").value.trim() || null,
    type: at("type").value.trim() || null,
    subject: subject(),
    sha256: files.document && (await hashDocument(files.document)),
  };
}

function trusted(content) {
  try {
    return parseTrust(content);
  } catch (error) {
    throw error instanceof Refused ? new Problem("badTrust") : error;
  }
}

function maxAge() {
  const field = at("age");
  if (!field.validity.valid) throw new Problem("badAge");
  return field.value === "" ? null : Number(field.value) * 3600;
}

/** Forms filled in with a Chinese keyboard hold full-width letters and digits; they mean the same. */
function subject() {
  const text = at("subject").value.trim().normalize("NFKC").toUpperCase();
  if (text === "") return null;
  const [, idType, id] = /^([0-9]+):(.+)$/.exec(text) ?? [];
  if (id === undefined) throw new Problem("badSubject");
  return { idType, id };
}

function fieldsOf(content) {
  try {
    return parseReceipt(content).opening.opened.map(({ name, value }) => [name, value]);
  } catch (error) {
    if (error instanceof Refused) return [];
    throw error;
  }
}

const read = async (file) => new Uint8Array(await file.slice(0, MOST_BYTES).arrayBuffer());

/** Sorts files by what they say they are: receipt, trust anchor, and anything else is the document. */
async function take(list) {
  for (const file of list) {
    const start = await file.slice(0, MOST_BYTES).text();
    const role = /"format"\s*:\s*"deltaseal-(receipt|trust)\//.exec(start)?.[1] ?? "document";
    files[role] = file;
  }
  render();
}

function onDrag(event) {
  event.preventDefault();
  at("drop").classList.toggle("over", event.type === "dragover");
}

for (const role of ROLES)
  at(role).addEventListener("change", () => {
    files[role] = at(role).files[0] ?? null;
    render();
  });
at("any").addEventListener("change", () => take(at("any").files));
for (const type of ["dragover", "dragleave", "drop"]) document.addEventListener(type, onDrag);
document.addEventListener("drop", (event) => take(event.dataTransfer.files));
at("form").addEventListener("submit", check);
at("languages").addEventListener("click", (event) => {
  lang = event.target.dataset.lang ?? lang;
  render();
});
render();
