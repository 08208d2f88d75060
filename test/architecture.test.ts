/** Keeps the house as design.md draws it: who may import whom, what runs in a browser, how long a file may get. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, posix, relative } from "node:path";
import { describe, expect, it } from "vitest";

const ROOT = join(import.meta.dirname, "..");
const FOLDERS = [
  "bench",
  "cli",
  "compiler",
  "dataplane",
  "format",
  "reference",
  "replay",
  "scenarios",
  "test",
  "traffic",
  "verify",
  "web",
];

interface Import {
  readonly file: string;
  readonly line: number;
  /** Path from the root for our own modules, the specifier for packages. */
  readonly target: string;
  readonly typeOnly: boolean;
}

function sourceFiles(folder: string): string[] {
  let entries: string[];
  try {
    entries = readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" });
  } catch {
    return [];
  }
  return entries
    .filter((name) => /\.(?:ts|tsx|mts)$/.test(name) && !name.includes("node_modules"))
    .map((name) => posix.join(folder, name.split("\\").join("/")));
}

const FILES = FOLDERS.flatMap(sourceFiles);
const TEXTS = new Map(FILES.map((file) => [file, readFileSync(join(ROOT, file), "utf8")]));

const IMPORT =
  /(?:^|\n)\s*(import|export)(\s+type)?\b[^;'"]*?from\s*["']([^"']+)["']|import\(\s*["']([^"']+)["']\s*\)/g;

function importsOf(file: string): Import[] {
  const text = TEXTS.get(file) ?? "";
  return [...text.matchAll(IMPORT)].map((match) => {
    const specifier = match[3] ?? match[4] ?? "";
    const target = specifier.startsWith(".")
      ? relative(ROOT, join(ROOT, dirname(file), specifier))
          .split("\\")
          .join("/")
      : specifier;
    const line = text.slice(0, match.index).split("\n").length + 1;
    return { file, line, target, typeOnly: match[2] !== undefined };
  });
}

const isOurs = (target: string) => FOLDERS.some((folder) => target.startsWith(`${folder}/`));
const place = ({ file, line, target }: Import) => `${file}:${line} imports ${target}`;

/** The imports of ours from `folder` to outside of it that `allowed` does not let through. */
function strays(folder: string, allowed: (found: Import) => boolean): string[] {
  return FILES.filter((file) => file.startsWith(`${folder}/`))
    .flatMap(importsOf)
    .filter(({ target }) => isOurs(target) && !target.startsWith(`${folder}/`))
    .filter((found) => !allowed(found))
    .map(place);
}

// maps/layout.ts belongs to the format: a map program is the bytes of its keys and values.
const DATAPLANE_FORMAT = /^dataplane\/(?:program|packet|address|verdict|maps\/layout|maps\/tupleEntries)\.ts$/;
const PACKET_TYPES = /^dataplane\/(?:packet|address)\.ts$/;

describe("import directions", () => {
  it("the scan sees the house at all", () => {
    expect(FILES.length).toBeGreaterThan(30);
    expect(FILES.flatMap(importsOf).length).toBeGreaterThan(100);
  });

  it("dataplane imports nothing of ours", () => {
    expect(strays("dataplane", () => false)).toEqual([]);
  });

  it("compiler takes the program format from dataplane, never the evaluators", () => {
    expect(strays("compiler", ({ target }) => DATAPLANE_FORMAT.test(target))).toEqual([]);
  });

  it("reference imports types only, so that judge and accused share no function", () => {
    expect(
      FILES.filter((file) => file.startsWith("reference/"))
        .flatMap(importsOf)
        .filter(({ target, typeOnly }) => !target.startsWith("reference/") && !typeOnly)
        .map(place),
    ).toEqual([]);
  });

  it("traffic imports packet types only", () => {
    expect(strays("traffic", ({ target }) => PACKET_TYPES.test(target))).toEqual([]);
  });

  it("a strategy never imports another strategy", () => {
    const shared = new Set(["registry", "strategy"]);
    const owner = (path: string) => path.match(/^compiler\/strategies\/([^/.]+)/)?.[1];
    const found = FILES.filter((file) => owner(file) !== undefined && !shared.has(owner(file) ?? ""))
      .flatMap(importsOf)
      .filter(({ target }) => owner(target) !== undefined && !shared.has(owner(target) ?? ""))
      .filter(({ file, target }) => owner(file) !== owner(target));
    expect(found.map(place)).toEqual([]);
  });

  it("nothing imports the command line or the tests but themselves", () => {
    for (const folder of FOLDERS.filter((name) => name !== "cli" && name !== "test")) {
      expect(strays(folder, ({ target }) => !/^(?:cli|test)\//.test(target))).toEqual([]);
    }
  });

  it("what the page shares with the command line runs in a browser", () => {
    const outer = FILES.filter((file) => /^(?:format|web)\//.test(file));
    expect(
      outer
        .flatMap(importsOf)
        .filter(({ target }) => target.startsWith("node:"))
        .map(place),
    ).toEqual([]);
  });

  it("only manifest/parse.ts knows YAML", () => {
    // Tests may read foreign tables with it.
    const found = FILES.flatMap(importsOf).filter(({ file, target }) => target === "yaml" && !file.startsWith("test/"));
    expect([...new Set(found.map(({ file }) => file))]).toEqual(["compiler/manifest/parse.ts"]);
  });

  it("relative imports name a file that exists", () => {
    const found = FILES.flatMap(importsOf).filter(({ target }) => isOurs(target) && !TEXTS.has(target));
    expect(found.filter(({ target }) => !/\.json(?:\?raw)?$/.test(target)).map(place)).toEqual([]);
  });
});

describe("what runs in a browser", () => {
  const inner = FILES.filter((file) => /^(?:compiler|dataplane|reference|traffic)\//.test(file));

  it("the inner folders import nothing of Node's", () => {
    expect(
      inner
        .flatMap(importsOf)
        .filter(({ target }) => target.startsWith("node:"))
        .map(place),
    ).toEqual([]);
  });

  it("the inner folders use no process, Buffer, clock or random source", () => {
    const forbidden =
      /\b(?:process\.|Buffer\.|Date\.now|new Date\(\)|performance\.now|Math\.random|crypto\.|setTimeout)/;
    const found = inner.filter((file) => forbidden.test(withoutComments(TEXTS.get(file) ?? "")));
    expect(found).toEqual([]);
  });

  it("only the command line touches process and the console", () => {
    // verify/kernel drives a child process and its files: that is its purpose.
    const outer = FILES.filter((file) => /^(?:bench|verify)\//.test(file) && !file.startsWith("verify/kernel/"));
    const forbidden = /\b(?:process\.(?:exit|argv|stdout|stderr|stdin)|console\.)/;
    expect(outer.filter((file) => forbidden.test(withoutComments(TEXTS.get(file) ?? "")))).toEqual([]);
  });
});

describe("style that a machine can keep", () => {
  it("no file is above 600 lines", () => {
    const long = FILES.map((file) => [file, (TEXTS.get(file) ?? "").split("\n").length] as const).filter(
      ([, lines]) => lines > 600,
    );
    expect(long).toEqual([]);
  });

  it("no default exports, no enums, no `any`", () => {
    const forbidden = /^\s*export default\b|^\s*(?:export )?(?:const )?enum\b|:\s*any\b|\bas any\b|<any>/m;
    // This file spells out what it forbids.
    const files = FILES.filter((file) => file !== "test/architecture.test.ts");
    expect(files.filter((file) => forbidden.test(withoutComments(TEXTS.get(file) ?? "")))).toEqual([]);
  });

  it("folders are made one by one (makeFolder): recursive mkdir never ends below /proc", () => {
    const files = FILES.filter((file) => !file.startsWith("test/"));
    const found = files.filter((file) =>
      /\bmkdir(?:Sync)?\([^;]*\brecursive\b/.test(withoutComments(TEXTS.get(file) ?? "")),
    );
    expect(found).toEqual([]);
  });

  it("no folder of leftovers", () => {
    const names = FILES.flatMap((file) => file.split("/").slice(0, -1));
    expect(names.filter((name) => /^(?:src|lib|utils?|common|types|helpers?)$/.test(name))).toEqual([]);
  });
});

function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$|\s\/\/ .*$/gm, "");
}
