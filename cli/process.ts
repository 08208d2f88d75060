/** The process: streams, files, environment and signals in, exit code out. Everything else takes them as `Io`. */
import { fstatSync, writeSync } from "node:fs";
import { appendFile, open, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { text } from "node:stream/consumers";
import manifest from "../package.json" with { type: "json" };
import { readAhead } from "../traffic/readAhead.ts";
import { makeFolder } from "../verify/kernel/makeFolder.ts";
import { EXIT, type Io, readable, UsageError, type Writer, writing } from "./io.ts";
import { isPipe, openPipe, untilInterrupted } from "./pipes.ts";
import { runCli } from "./run.ts";

/**
 * The reader of our output went away (`chainwalk … | head`): nothing is left to say to it. What cannot be written otherwise (a
 * full disk) is said where that can be, and ends the command: what is missing must not look like an answer.
 */
function endWhenNotWritten(stream: NodeJS.WriteStream, name: string): void {
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit(EXIT.fine);
    if (stream === process.stdout) sayAtOnce(`error: ${name} cannot be written: ${error.message}\n`);
    process.exit(EXIT.invalid);
  });
}

/** Before the process ends, which waits for no stream. */
function sayAtOnce(text: string): void {
  try {
    writeSync(process.stderr.fd, text);
  } catch {
    // Nobody can be told.
  }
}

function writerOf(stream: NodeJS.WriteStream): Writer {
  return {
    write: (data) =>
      new Promise((resolve) => {
        if (stream.write(data)) resolve();
        else stream.once("drain", resolve);
      }),
    isTerminal: stream.isTTY === true,
    columns: stream.isTTY === true ? stream.columns : undefined,
  };
}

const interruption = new AbortController();

async function inFolder(path: string, write: () => Promise<void>): Promise<void> {
  makeFolder(dirname(path));
  await write();
}

function pipeOf(path: string): AsyncGenerator<Uint8Array> {
  return untilInterrupted(openPipe(path), interruption.signal);
}

async function* standardInput(): AsyncGenerator<Uint8Array> {
  // Node takes a folder for an empty stream.
  if (isFolder(process.stdin.fd)) throw new UsageError("standard input is a folder");
  yield* readable("standard input", untilInterrupted(process.stdin, interruption.signal));
}

function isFolder(descriptor: number): boolean {
  try {
    return fstatSync(descriptor).isDirectory();
  } catch {
    return false; // closed: there is nothing to read
  }
}

const io: Io = {
  stdin: standardInput(),
  stdout: writerOf(process.stdout),
  stderr: writerOf(process.stderr),
  readFile: async (path) => ((await isPipe(path)) ? text(pipeOf(path)) : readFile(path, "utf8")),
  async *readStream(path) {
    yield* readable(path, (await isPipe(path)) ? pipeOf(path) : readAhead(() => open(path)));
  },
  readdir: async (path) =>
    (await readdir(path, { withFileTypes: true })).map((entry) => ({
      name: entry.name,
      kind: entry.isDirectory() ? "folder" : "file",
    })),
  kindOf: async (path) => {
    const found = await stat(path).catch(() => undefined);
    if (found === undefined) return undefined;
    return found.isDirectory() ? "folder" : "file";
  },
  sizeOf: async (path) => {
    const found = await stat(path).catch(() => undefined);
    return found?.isFile() === true ? found.size : undefined;
  },
  writeFile: (path, data) =>
    writing(
      path,
      inFolder(path, () => writeFile(path, data)),
    ),
  appendFile: (path, text) =>
    writing(
      path,
      inFolder(path, () => appendFile(path, text)),
    ),
  env: process.env,
  interrupted: interruption.signal,
  now: () => performance.now(),
  // Few commands start others, and what it takes is loaded no sooner.
  runSelf: async (run) => (await import("./self.ts")).runSelf(run),
  version: () => manifest.version,
  // Built, this is a script in dist/cli.
  pageFolder: () => join(import.meta.dirname, import.meta.url.endsWith(".ts") ? "../dist/page" : "../page"),
  openBrowser: async (address) => (await import("./openBrowser.ts")).openBrowser(address),
};

endWhenNotWritten(process.stdout, "standard output");
endWhenNotWritten(process.stderr, "standard error");

process.on("SIGINT", () => {
  // The second Ctrl-C means it; the first lets the command flush what is done.
  if (interruption.signal.aborted) process.exit(EXIT.interrupted);
  interruption.abort();
});

/** EX_SOFTWARE of sysexits(3): none of the contract's codes may come from a mistake of ours. */
const EXIT_BUG = 70;

async function run(): Promise<void> {
  let code: number = EXIT_BUG;
  try {
    code = await runCli(process.argv.slice(2), io);
  } catch (error) {
    const report = error instanceof Error ? (error.stack ?? error.message) : String(error);
    await io.stderr.write(`This is a bug of chainwalk, please report it with the command that shows it.\n${report}\n`);
  }
  await Promise.all([written(process.stdout), written(process.stderr)]);
  // Not when nothing is left to do: a command that read only part of standard input must not wait for the rest of it, and
  // Node would take its heap apart first, which of tens of megabytes takes as long as to start.
  process.exit(code);
}

/** When all that the stream was given is out. */
function written(stream: NodeJS.WriteStream): Promise<void> {
  return new Promise((resolve) => {
    if (stream.writableLength === 0) resolve();
    else stream.write("", () => resolve());
  });
}

void run();
