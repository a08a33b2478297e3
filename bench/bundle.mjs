// `node bench/bundle.mjs OUT` bundles receiptpage.mjs. A module that is asked for with ?recorded comes with all it imports
// once more, with recordedhashes.mjs in the place of hashes.mjs.
import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";

import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const recorder = resolve(here, "recordedhashes.mjs");

const recorded = {
  name: "recorded",
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /\.mjs(\?.*)?$/ }, ({ path, resolveDir, namespace }) => {
      const [file, mark] = path.split("?");
      const found = resolve(resolveDir, file);
      if (mark !== "recorded" && namespace !== "recorded") return { path: found };
      return found.endsWith("/hashes.mjs") ? { path: recorder } : { path: found, namespace: "recorded" };
    });
    onLoad({ filter: /.*/, namespace: "recorded" }, ({ path }) => ({
      contents: readFileSync(path, "utf8"),
      resolveDir: dirname(path),
    }));
  },
};

await build({
  entryPoints: [resolve(here, "receiptpage.mjs")],
  bundle: true,
  format: "iife",
  target: "es2023",
  logLevel: "error",
  outfile: process.argv[2],
  plugins: [recorded],
});
