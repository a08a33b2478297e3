// Runs the browser's verifier in Node, over the line protocol of docs/reference/verifier-protocol.md:
//
//   node cli.mjs RECEIPT TRUST [--at TIME] [--max-age SECONDS] [--expect-issuer USCC] [--expect-type CODE]
//                [--expect-subject TYPE:ID] [--file DOCUMENT]
//   node cli.mjs --stdin     one case a line: {"receipt": base64, "trust": base64, "at": …, …}
//
// Opens no connection. Exit codes: 0 valid, 10 refused, 11 not wholly proved, 12 revoked or expired, 6 bad trust file.
import { openAsBlob, readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";

import { unhex } from "./bytes.mjs";
import { Refused } from "./errors.mjs";
import { hashDocument } from "./hashes.mjs";
import { verifyLines } from "./protocol.mjs";
import { parseStatus } from "./receiptforms.mjs";
import { parseStrictJson } from "./strictjson.mjs";
import { parseTrust } from "./trust.mjs";

const INVALID = 6;
const USAGE = 2;
const CASE_BYTES = 16 << 20;
const TEXTS = ["at", "max-age", "expect-issuer", "expect-type", "expect-subject", "file"];

const print = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

async function main(argv) {
  const options = Object.fromEntries(TEXTS.map((name) => [name, { type: "string" }]));
  const { values, positionals } = parseArgs({
    args: argv,
    options: { ...options, stdin: { type: "boolean" } },
    allowPositionals: true,
  });
  if (values.stdin) return runCases();
  if (positionals.length !== 2) throw new TypeError("give RECEIPT and TRUST");
  const [receipt, trust] = positionals.map((path) => new Uint8Array(readFileSync(path)));
  const lines = verifyLines(receipt, parseTrust(trust), await questionOf(values));
  let last = null;
  for (last of lines) print(last);
  return last.exit;
}

async function questionOf(values) {
  const [idType, id] = values["expect-subject"]?.split(":") ?? [];
  return {
    at: values.at === undefined ? Date.now() / 1000 : secondsOf(values.at),
    maxAgeS: values["max-age"] === undefined ? null : Number(values["max-age"]),
    issuer: values["expect-issuer"] ?? null,
    type: values["expect-type"] ?? null,
    subject: idType === undefined ? null : { idType, id },
    sha256: values.file === undefined ? null : await hashDocument(await openAsBlob(values.file)),
  };
}

/** Answers many cases in one process; each answer is one line with all lines of the case, or an error. */
async function runCases() {
  for await (const line of createInterface({ input: process.stdin })) print(answer(line));
  return 0;
}

function answer(line) {
  const asked = parseStrictJson(new TextEncoder().encode(line), CASE_BYTES);
  const bytes = (name) => new Uint8Array(Buffer.from(asked.get(name), "base64"));
  const optional = (name, read) => (asked.get(name) == null ? null : read(asked.get(name)));
  try {
    const question = {
      at: secondsOf(asked.get("at")),
      knownHash: optional("knownHash", unhex),
      later: optional("later", parseStatus),
      maxAgeS: asked.get("maxAge") ?? null,
      issuer: asked.get("issuer") ?? null,
      type: asked.get("type") ?? null,
      subject: optional("subject", Object.fromEntries),
      sha256: optional("sha256", unhex),
    };
    return { lines: [...verifyLines(bytes("receipt"), parseTrust(bytes("trust")), question)] };
  } catch (error) {
    if (error instanceof Refused) return { error: error.code };
    throw error;
  }
}

/** Reads a time; one that names no zone is none, as a machine's own zone must not decide. */
function secondsOf(text) {
  if (!/(?:Z|[+-]\d\d:\d\d)$/.test(text)) return null;
  const found = Date.parse(text) / 1000;
  return Number.isNaN(found) ? null : found;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`error: ${error.code ?? "internal"}: ${error.message}\n`);
  process.exitCode = error instanceof Refused ? INVALID : error instanceof TypeError ? USAGE : 1;
}
