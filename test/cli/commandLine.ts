/** Runs commands of the command line in this process: their files are the checkout's, with texts of the test on top. */
import { createReadStream } from "node:fs";
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import type { FolderEntry, Io, Writer } from "../../cli/io.ts";
import { runCli } from "../../cli/run.ts";
import { ROOT } from "../built.ts";

export interface World {
  /** Path to text or bytes; stands before the checkout's files. */
  readonly files?: Readonly<Record<string, string | Uint8Array>>;
  readonly stdin?: string | AsyncIterable<Uint8Array | string>;
  readonly env?: Readonly<Record<string, string>>;
  /** Stdout and stderr are terminals of this width. */
  readonly terminalColumns?: number;
  readonly interrupted?: AbortSignal;
  /** Milliseconds of a clock; the command line's own by default. */
  readonly now?: () => number;
  /** Gets what the command writes into files; none touches the disk. */
  readonly saved?: Map<string, string>;
  /** The command line itself; default ours. */
  readonly run?: typeof runCli;
  /** The folder of the page's build. */
  readonly page?: string;
  /** Gets the address that a browser is to show; answers as `Io.openBrowser`. */
  readonly opened?: (address: string) => string | undefined;
  /** Gets the texts that the command writes, to stdout and stderr, in their order. */
  readonly shown?: string[];
  /** Gets what the command writes to stdout as bytes. */
  readonly binary?: Uint8Array[];
}

export interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Arguments as a shell would split them: a text at its blanks (nothing in these tests is quoted), or a list. */
export async function chainwalk(command: string | readonly string[], world: World = {}): Promise<Outcome> {
  const written = { out: "", err: "" };
  // What would be a process of its own is a command in this one.
  const runSelf: Io["runSelf"] = async ({ argv, onLine, signal }) => {
    const { code, out, err } = await chainwalk(argv, { ...world, interrupted: signal });
    for (const line of linesOf(out)) if (line !== "") onLine(line);
    written.err += err;
    return code;
  };
  const writer = (to: "out" | "err"): Writer => ({
    write: async (data) => {
      if (typeof data !== "string") {
        world.binary?.push(data.slice());
        return;
      }
      written[to] += data;
      world.shown?.push(data);
    },
    isTerminal: world.terminalColumns !== undefined,
    columns: world.terminalColumns,
  });
  const argv = typeof command === "string" ? command.split(" ").filter((word) => word !== "") : command;
  const code = await (world.run ?? runCli)(argv, {
    ...filesOf(world),
    ...restOf(world),
    runSelf,
    stdout: writer("out"),
    stderr: writer("err"),
  });
  return { code, ...written };
}

/** The lines of a text that is lines. */
export function linesOf(text: string): readonly string[] {
  return text.replace(/\n$/, "").split("\n");
}

/** Every line as JSON. */
export function jsonLines(text: string): readonly unknown[] {
  return linesOf(text).map((line): unknown => JSON.parse(line));
}

type FilesOfIo = Pick<Io, "readFile" | "readStream" | "readdir" | "kindOf" | "sizeOf">;

function filesOf({ files = {} }: World): FilesOfIo {
  const real = (path: string) => join(ROOT, path);
  const inFolder = (path: string) => Object.keys(files).filter((name) => name.startsWith(`${path}/`));
  return {
    readFile: (path) => (path in files ? Promise.resolve(textOf(files[path])) : readFile(real(path), "utf8")),
    readStream: (path) => (path in files ? once(files[path] ?? "") : createReadStream(real(path))),
    readdir: async (path) => {
      const own = new Map<string, FolderEntry>();
      for (const file of inFolder(path)) {
        const [name = "", ...rest] = file.slice(path.length + 1).split("/");
        own.set(name, { name, kind: rest.length > 0 ? "folder" : "file" });
      }
      if (own.size > 0) return [...own.values()];
      const entries = await readdir(real(path), { withFileTypes: true });
      return entries.map((entry) => ({ name: entry.name, kind: entry.isDirectory() ? "folder" : "file" }));
    },
    sizeOf: async (path) => (path in files ? (files[path] ?? "").length : (await stat(real(path))).size),
    kindOf: async (path) => {
      if (path in files) return "file";
      if (inFolder(path).length > 0) return "folder";
      const found = await stat(real(path)).catch(() => undefined);
      if (found === undefined) return undefined;
      return found.isDirectory() ? "folder" : "file";
    },
  };
}

function restOf({
  stdin = "",
  env = {},
  interrupted,
  now = () => performance.now(),
  saved = new Map(),
  page = "no-page",
  opened,
}: World): Omit<Io, keyof FilesOfIo | "stdout" | "stderr" | "runSelf"> {
  return {
    stdin: typeof stdin === "string" ? once(stdin) : stdin,
    env,
    interrupted: interrupted ?? new AbortController().signal,
    now,
    version: () => "0.0.0-test",
    pageFolder: () => page,
    openBrowser: async (address) => (opened === undefined ? "a test has none" : opened(address)),
    writeFile: async (path, data) => {
      saved.set(path, typeof data === "string" ? data : new TextDecoder().decode(data));
    },
    appendFile: async (path, text) => {
      saved.set(path, (saved.get(path) ?? "") + text);
    },
  };
}

async function* once(data: string | Uint8Array): AsyncGenerator<string | Uint8Array> {
  yield data;
}

function textOf(data: string | Uint8Array | undefined): string {
  return typeof data === "string" ? data : new TextDecoder().decode(data);
}
