#!/usr/bin/env node
/**
 * Starts the command line from what the build put together, with the code that V8 made of it then: parsing and compiling
 * is a third of a short command. V8 takes only what its own version made, with its own flags; whatever it does not take,
 * or is not there, is compiled from the source beside it, as ever.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { Script } from "node:vm";
import { crc32 } from "node:zlib";

/** The build makes a CommonJS module of this file. */
const FOLDER = __dirname;
/** The build replaces it by the name of the file that `process.ts` became. */
const FIRST = "PROCESS_FILE";
/** Only the build sets it: write down what was compiled. */
const WRITES = process.env.CHAINWALK_WRITE_CODE === "1";

interface Started {
  readonly source: Buffer;
  readonly script: Script;
}

interface Loaded {
  exports: unknown;
}

type Wrapped = (
  exports: unknown,
  require: (name: string) => unknown,
  module: Loaded,
  file: string,
  dir: string,
) => void;

/**
 * Most commands end before what V8 optimizes for them has paid. So it waits for four times the work that it would of
 * itself: truth tables were the quicker for it, and no longer command the slower. Of the V8 of Node 20, where that was tried.
 */
if (process.versions.v8.startsWith("11.3.")) setFlagsFromString("--interrupt-budget=270336");
// Marking in steps makes pauses short at the price of time in all, and a command is waited for to its end.
setFlagsFromString("--no-incremental-marking");

const requireBuiltIn = createRequire(__filename);
const modules = new Map<string, Loaded>();
const scripts = new Map<string, Started>();

/** What V8 checks leaves out the processor and the build of Node. */
function codeFile(name: string): string {
  return join(FOLDER, `${name}.${process.version}-${process.platform}-${process.arch}.code`);
}

const CHECK_BYTES = 4;

/**
 * V8 compares the source by its length alone, and would run into a wall with code in which a bit has changed: a checksum of
 * both stands before the code.
 */
function checkOf(source: Buffer, code: Buffer): number {
  return crc32(code, crc32(source));
}

function knownCode(name: string, source: Buffer): Buffer | undefined {
  try {
    const file = readFileSync(codeFile(name));
    const code = file.subarray(CHECK_BYTES);
    return file.readUInt32LE(0) === checkOf(source, code) ? code : undefined;
  } catch {
    return undefined;
  }
}

function writeCode(name: string, { source, script }: Started): void {
  const check = Buffer.alloc(CHECK_BYTES);
  const code = script.createCachedData();
  check.writeUInt32LE(checkOf(source, code));
  writeFileSync(codeFile(name), Buffer.concat([check, code]));
}

/** What few commands use, and takes Node milliseconds to load: loaded when something of it is first read. */
const RARE: ReadonlySet<string> = new Set(["node:child_process", "node:net", "node:stream/consumers"]);

function builtIn(name: string): unknown {
  if (!RARE.has(name)) return requireBuiltIn(name);
  return new Proxy({}, { get: (_nothing, key) => (requireBuiltIn(name) as Record<PropertyKey, unknown>)[key] });
}

function load(name: string): unknown {
  const known = modules.get(name);
  if (known !== undefined) return known.exports;
  const loaded: Loaded = { exports: {} };
  modules.set(name, loaded);
  const file = join(FOLDER, name);
  const source = readFileSync(file);
  const cachedData = knownCode(name, source);
  // The build leaves no character that takes more than a byte. On the first line, so that stack traces name the lines of the file.
  const wrapped = `(function (exports, require, module, __filename, __dirname) { ${source.toString("latin1")}\n})`;
  const script = new Script(wrapped, { filename: file, ...(cachedData && { cachedData }) });
  if (WRITES) scripts.set(name, { source, script });
  const run: Wrapped = script.runInThisContext();
  run(
    loaded.exports,
    (wanted) => (wanted.startsWith("./") ? load(wanted.slice(2)) : builtIn(wanted)),
    loaded,
    file,
    FOLDER,
  );
  return loaded.exports;
}

load(FIRST);

if (WRITES) {
  process.on("exit", () => {
    for (const [name, started] of scripts) writeCode(name, started);
  });
}
