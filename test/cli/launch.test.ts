/** The command line is the same with compiled code, without, and with code that V8 cannot take. */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { crc32 } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ROOT } from "../built.ts";
import { builtCommandLine } from "./builtCommandLine.ts";

const CLUSTER = join(ROOT, "scenarios", "db-policy");

let folder = "";

/** Inside the checkout, where the package finds itself. */
beforeAll(() => {
  mkdirSync(join(ROOT, ".cache"), { recursive: true });
  folder = mkdtempSync(join(ROOT, ".cache", "launch-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function codeFiles(of: string): string[] {
  return readdirSync(of)
    .filter((name) => name.endsWith(".code"))
    .map((name) => join(of, name));
}

/** A copy of the built command line, whose code is then changed. */
function withCode(name: string, change: (file: string) => void): string {
  const copy = join(folder, name);
  cpSync(dirname(builtCommandLine()), copy, { recursive: true });
  for (const file of codeFiles(copy)) change(file);
  return join(copy, "main.js");
}

function run(main: string, nodeFlags: readonly string[] = []) {
  const args = [...nodeFlags, main, "matrix", "-f", CLUSTER, "-s", "all", "-o", "json"];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
  return { status, stdout, stderr };
}

describe("compiled code of the command line", () => {
  it("is written by the build", () => {
    expect(codeFiles(dirname(builtCommandLine())).length).toBeGreaterThan(0);
  });

  it("is of files in which a byte is a character, as the launcher reads them", () => {
    const built = dirname(builtCommandLine());
    const files = readdirSync(built).filter((name) => name.endsWith(".cjs"));
    expect(files.length).toBeGreaterThan(0);
    for (const name of files)
      expect(
        readFileSync(join(built, name)).every((byte) => byte < 0x80),
        name,
      ).toBe(true);
  });

  it.each<readonly [what: string, change: (file: string) => void]>([
    ["missing", (file) => rmSync(file)],
    ["empty", (file) => truncateSync(file)],
    ["cut off", (file) => truncateSync(file, Math.floor(readFileSync(file).length / 2))],
    ["of another version of V8", (file) => writeFileSync(file, otherVersion(file))],
    ["damaged", (file) => writeFileSync(file, flipped(readFileSync(file), Math.floor(statSync(file).size / 2)))],
    ["not code at all", (file) => writeFileSync(file, "not code at all")],
    // Root reads what has no right to be read, so that would show nothing.
    ["a folder", asFolder],
  ])("changes nothing when it is %s", (what, change) => {
    const expected = run(builtCommandLine());
    expect(expected).toMatchObject({ status: 0, stderr: "" });
    expect(run(withCode(what, change))).toEqual(expected);
  });

  // V8 knows a source by its length, so code of another text of that length tells that it was taken.
  it("is what runs", () => {
    const [shown, other] = [
      "Walk a packet through your NetworkPolicies.",
      "Talk a packet through your NetworkPolicies.",
    ];
    const main = withCode("other text", (file) => rmSync(file));
    const path = readdirSync(dirname(main))
      .map((name) => join(dirname(main), name))
      .find((file) => file.endsWith(".cjs") && readFileSync(file, "utf8").includes(shown));
    if (path === undefined) throw new Error(`nothing says ${shown}`);
    const source = readFileSync(path, "utf8");
    writeFileSync(path, source.replace(shown, other));
    const env = { ...process.env, CHAINWALK_WRITE_CODE: "1" };
    spawnSync(process.execPath, [main, "--help"], { env });
    writeFileSync(path, source);
    for (const file of codeFiles(dirname(main)).filter((name) => name.startsWith(`${path}.`))) {
      writeFileSync(file, checked(source, readFileSync(file).subarray(4)));
    }
    expect(spawnSync(process.execPath, [main, "--help"], { encoding: "utf8" }).stdout).toContain(other);
  });

  it("changes nothing under flags that it was not made with", () => {
    expect(run(builtCommandLine(), ["--no-opt"])).toEqual(run(builtCommandLine()));
  });

  it("is left as it is by whoever runs a command", () => {
    const main = withCode("left alone", () => {});
    const before = hashesIn(dirname(main));
    run(main);
    expect(hashesIn(dirname(main))).toEqual(before);
  });
});

function hashesIn(of: string): string[] {
  return readdirSync(of).map(
    (name) =>
      `${name} ${createHash("sha256")
        .update(readFileSync(join(of, name)))
        .digest("hex")}`,
  );
}

function asFolder(file: string): void {
  rmSync(file);
  mkdirSync(file);
}

function flipped(code: Buffer, at: number): Buffer {
  const other = Buffer.from(code);
  other.writeUInt8(other.readUInt8(at) ^ 0xff, at);
  return other;
}

/** Another version's hash: the second word of V8's code-serializer.h. */
function otherVersion(file: string): Buffer {
  const source = readFileSync(file.replace(/\.cjs\..*$/, ".cjs"));
  return checked(source, flipped(readFileSync(file).subarray(4), 4));
}

/** Behind the checksum that cli/main.ts writes. */
function checked(source: Buffer | string, code: Buffer): Buffer {
  const check = Buffer.alloc(4);
  check.writeUInt32LE(crc32(code, crc32(source)));
  return Buffer.concat([check, code]);
}
