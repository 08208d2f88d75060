import { expect, test } from "vitest";
import { type OpenedFile, readAhead } from "../../traffic/readAhead.ts";

/** A file of so many bytes, 0, 1, 2 …, which gives `each` of them at a time. */
class FakeFile implements OpenedFile {
  closed = 0;
  #at = 0;
  readonly #bytes: number;
  readonly #each: number;

  constructor(bytes: number, each: number) {
    this.#bytes = bytes;
    this.#each = each;
  }

  async read(room: Uint8Array): Promise<{ readonly bytesRead: number }> {
    const bytesRead = Math.min(this.#each, this.#bytes - this.#at);
    for (let byte = 0; byte < bytesRead; byte++) room[byte] = this.#at++;
    return { bytesRead };
  }

  async close(): Promise<void> {
    this.closed++;
  }
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("a piece holds until the one after the next is asked for, and the file is closed", async () => {
  const file = new FakeFile(100, 7);
  const seen: number[] = [];
  let before: Uint8Array = new Uint8Array(0);
  let copyOfBefore = "";
  for await (const piece of readAhead(async () => file)) {
    await settled();
    expect(before.join()).toBe(copyOfBefore);
    seen.push(...piece);
    before = piece;
    copyOfBefore = piece.join();
  }
  expect(seen).toEqual(Array.from({ length: 100 }, (_, byte) => byte));
  await settled();
  expect(file.closed).toBe(1);
});

test("whoever stops early does not wait for what is on its way; the file is closed when that has come", async () => {
  let arrive = (_: { bytesRead: number }): void => undefined;
  const file = new FakeFile(100, 7);
  const first = file.read.bind(file);
  let reads = 0;
  file.read = (room) => (reads++ === 0 ? first(room) : new Promise((resolve) => (arrive = resolve)));
  for await (const piece of readAhead(async () => file)) {
    expect(piece).toHaveLength(7);
    break;
  }
  expect(file.closed).toBe(0);
  arrive({ bytesRead: 0 });
  await settled();
  expect(file.closed).toBe(1);
});

test("what fails to be read or opened fails for who reads", async () => {
  const file = new FakeFile(100, 7);
  const first = file.read.bind(file);
  let reads = 0;
  file.read = async (room) => {
    if (reads++ > 0) throw new Error("EIO");
    return first(room);
  };
  const pieces = readAhead(async () => file);
  await pieces.next();
  await settled();
  await expect(pieces.next()).rejects.toThrow("EIO");
  await settled();
  expect(file.closed).toBe(1);
  await expect(readAhead(() => Promise.reject(new Error("ENOENT"))).next()).rejects.toThrow("ENOENT");
});
