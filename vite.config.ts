/** Builds the page: static files with a strict policy, and the same as one file that opens from disk. */
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { brotliCompressSync, constants } from "node:zlib";
import { defineConfig, type Plugin } from "vite";
import { OF_FILES, policyOfOneFile, policyText } from "./web/policy.ts";

// Tests build into folders of their own, so that two of them may build at once.
const OUT = process.env.CHAINWALK_PAGE_FOLDER ?? join(import.meta.dirname, "dist", "page");

const hashOf = (text: string) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;

const STATIC = policyText(OF_FILES);

/** Puts script, worker and style into one file, which then names them by their hashes. */
function singleFile(): Plugin {
  return {
    name: "single-file",
    transformIndexHtml: {
      order: "post",
      handler: (html) =>
        html.replace("<!-- policy -->", `<meta http-equiv="Content-Security-Policy" content="${STATIC}">`),
    },
    writeBundle() {
      const assets = readdirSync(join(OUT, "assets"));
      const read = (pattern: RegExp): string => {
        const [name, ...more] = assets.filter((asset) => pattern.test(asset));
        if (name === undefined || more.length > 0)
          throw new Error(`want one asset ${pattern}, found ${assets.join(", ")}`);
        return readFileSync(join(OUT, "assets", name), "utf8");
      };
      // A script ends at the first "</script"; in code it can only stand in a string or a pattern.
      const script = (text: string) => text.replaceAll("</script", "<\\/script").replaceAll("<!--", "<\\!--");
      const [main, style] = [script(read(/^index-.*\.js$/)), read(/\.css$/)];
      const apart = ["worker", "reports", "bundledTexts"]
        .map(
          (name) => `<script type="text/plain" id="${name}">${script(read(new RegExp(`^${name}-.*\\.js$`)))}</script>`,
        )
        .join("");
      const rules = policyText(policyOfOneFile(hashOf(main), hashOf(style)));
      const html = readFileSync(join(OUT, "index.html"), "utf8")
        .replace(STATIC, rules)
        .replace(/<script type="module"[^>]*><\/script>/, "")
        .replace(/<link rel="stylesheet"[^>]*>/, () => `<style>${style}</style>`)
        .replace("</body>", () => `${apart}<script type="module">${main}</script></body>`);
      writeFileSync(join(OUT, "chainwalk.html"), html);
    },
  };
}

/** The names of the scenarios, without their texts. */
function scenarioNames(): Plugin {
  const id = "virtual:scenarios";
  return {
    name: "scenario-names",
    resolveId: (asked) => (asked === id ? `\0${id}` : undefined),
    load: (asked) => {
      if (asked !== `\0${id}`) return undefined;
      const folders = readdirSync(join(import.meta.dirname, "scenarios"), { withFileTypes: true });
      const names = folders.filter((each) => each.isDirectory()).map(({ name }) => name);
      return `export const NAMES = ${JSON.stringify(names.sort())}`;
    },
  };
}

/** Beside each asset its best compression, which takes a second and is made once: `chainwalk serve` hands it out as it is. */
function compressed(): Plugin {
  return {
    name: "compressed",
    writeBundle() {
      for (const name of readdirSync(join(OUT, "assets"))) {
        const path = join(OUT, "assets", name);
        const bytes = readFileSync(path);
        const params = { [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length, [constants.BROTLI_PARAM_LGWIN]: 24 };
        writeFileSync(`${path}.br`, brotliCompressSync(bytes, { params }));
      }
    },
  };
}

export default defineConfig({
  root: join(import.meta.dirname, "web"),
  base: "./",
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  build: {
    outDir: OUT,
    emptyOutDir: true,
    target: "es2022",
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    reportCompressedSize: true,
    chunkSizeWarningLimit: 1_000,
  },
  worker: { format: "iife" },
  plugins: [scenarioNames(), singleFile(), compressed()],
});
