/** Builds the page: static files with a strict policy, and the same as one file that opens from disk. */
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { brotliCompressSync, constants } from "node:zlib";
import { type BuildOptions, build, defineConfig, type Plugin, type Rolldown, type UserConfig } from "vite";
import { OF_FILES, policyOfOneFile, policyText } from "./web/policy.ts";

// Tests build into folders of their own, so that two of them may build at once.
const OUT = process.env.CHAINWALK_PAGE_FOLDER ?? join(import.meta.dirname, "dist", "page");

const WEB = join(import.meta.dirname, "web");
const COMPILER = join(import.meta.dirname, "compiler");

/** Of both forms. */
const COMMON: UserConfig = {
  root: WEB,
  base: "./",
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
};
const BUILD: BuildOptions = { target: "es2022", modulePreload: { polyfill: false }, assetsInlineLimit: 0 };

const hashOf = (text: string) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;

const STATIC = policyText(OF_FILES);

/** The page's script in one piece, with the views that the other form fetches. */
async function wholeScript(): Promise<string> {
  const built = await build({
    ...COMMON,
    configFile: false,
    mode: "production",
    logLevel: "error",
    plugins: [scenarioNames(), carryAlong(), fewMemos()],
    build: {
      ...BUILD,
      write: false,
      rolldownOptions: { input: join(WEB, "main.tsx"), output: { codeSplitting: false } },
    },
  });
  const { output } = [built].flat()[0] as Rolldown.RolldownOutput;
  const chunks = output.filter((each) => each.type === "chunk");
  const [chunk] = chunks;
  if (chunk === undefined || chunks.length > 1) throw new Error(`want one script, made ${chunks.length}`);
  return chunk.code;
}

function carryAlong(): Plugin {
  return {
    name: "carry-along",
    enforce: "pre",
    resolveId: (asked) => (asked === "./carried.ts" ? join(WEB, "carriedAlong.ts") : undefined),
  };
}

/** Puts script, worker and style into one file, which then names them by their hashes. */
function singleFile(): Plugin {
  return {
    name: "single-file",
    transformIndexHtml: {
      order: "post",
      handler: (html) =>
        html.replace("<!-- policy -->", `<meta http-equiv="Content-Security-Policy" content="${STATIC}">`),
    },
    async writeBundle() {
      const assets = readdirSync(join(OUT, "assets"));
      const read = (pattern: RegExp): string => {
        const [name, ...more] = assets.filter((asset) => pattern.test(asset));
        if (name === undefined || more.length > 0)
          throw new Error(`want one asset ${pattern}, found ${assets.join(", ")}`);
        return readFileSync(join(OUT, "assets", name), "utf8");
      };
      // A script ends at the first "</script"; in code it can only stand in a string or a pattern.
      const script = (text: string) => text.replaceAll("</script", "<\\/script").replaceAll("<!--", "<\\!--");
      const [main, style] = [script(await wholeScript()), read(/\.css$/)];
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

/** What the compiler uses of `lru-cache` in a few lines; who else uses it comes with the worker of reports. */
function fewMemos(): Plugin {
  return {
    name: "few-memos",
    enforce: "pre",
    resolveId: (asked, importer) =>
      asked === "lru-cache" && importer?.startsWith(COMPILER) ? join(WEB, "leastRecent.ts") : undefined,
  };
}

/** The page's policy forbids to compile, so what would be compiled there (WebAssembly) stays out of it. */
function withoutLoops(): Plugin {
  const id = "\0established-loops";
  return {
    name: "without-loops",
    enforce: "pre",
    resolveId: (asked) => (asked.endsWith("/establishedLoops.ts") ? id : undefined),
    load: (asked) =>
      asked === id
        ? "export const EstablishedLoops = { of: () => undefined }; export const areLoopsCompiled = () => false;"
        : undefined,
  };
}

/** What follows a cluster's changes, by the files of the strategies' controllers and what they are asked for. */
const CONTROLLERS = /\/(?:calico-iptables|cilium-ebpf|kube-router|romana|weave-net)\/update\.ts$/;
const FOLLOWERS = ["planFelix", "agentController", "syncingController", "tickingController", "liveController"];

/** The first worker shows what a cluster is; how it came to be is told by the worker of reports, which has the controllers. */
function withoutControllers(): Plugin {
  const id = "\0controllers";
  let isFirst = false;
  return {
    name: "without-controllers",
    enforce: "pre",
    buildStart: ({ input }) => {
      isFirst = Object.values(input).some((entry) => entry === join(WEB, "worker.ts"));
    },
    resolveId: (asked) => (isFirst && CONTROLLERS.test(asked) ? id : undefined),
    load: (asked) =>
      asked === id
        ? `const absent = () => { throw new Error("the worker of reports follows changes"); };
          export { ${FOLLOWERS.map((name) => `absent as ${name}`).join(", ")} };`
        : undefined,
  };
}

/** 11 is the best, and takes most of the time of a build: samples of the tests do with less. */
const QUALITY = Number(process.env.CHAINWALK_PAGE_QUALITY ?? constants.BROTLI_MAX_QUALITY);

/** Beside each asset its compression, made once: `chainwalk serve` hands it out as it is. */
function compressed(): Plugin {
  return {
    name: "compressed",
    writeBundle() {
      for (const name of readdirSync(join(OUT, "assets"))) {
        const path = join(OUT, "assets", name);
        const bytes = readFileSync(path);
        const params = {
          [constants.BROTLI_PARAM_QUALITY]: QUALITY,
          [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length,
          [constants.BROTLI_PARAM_LGWIN]: 24,
        };
        writeFileSync(`${path}.br`, brotliCompressSync(bytes, { params }));
      }
    },
  };
}

export default defineConfig({
  ...COMMON,
  build: {
    ...BUILD,
    outDir: OUT,
    emptyOutDir: true,
    reportCompressedSize: true,
    chunkSizeWarningLimit: 1_000,
  },
  worker: { format: "iife", plugins: () => [withoutLoops(), withoutControllers(), fewMemos()] },
  plugins: [scenarioNames(), withoutLoops(), fewMemos(), singleFile(), compressed()],
});
