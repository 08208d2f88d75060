/** Links that are followed while the page is about to write an address of its own: each moment of it, one after the other. */
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { type AddressBar, KeptAddress } from "../../web/keptAddress.ts";

/** A bar whose `hashchange` the test tells when it likes, as a browser does: later than the address changes. */
class Bar implements AddressBar {
  hash = "";
  readonly written: string[] = [];

  replace(hash: string): void {
    this.hash = hash;
    this.written.push(hash);
  }
}

/** An encoding that ends when the test says so. */
function encoding() {
  let end: (hash: string) => void = () => {};
  const hash = new Promise<string>((resolve) => {
    end = resolve;
  });
  return { hash, hashOf: vi.fn(() => hash), end: (text: string) => end(text) };
}

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

/** The address that is followed, as `hashchange` is heard; undefined: none. */
async function followed(address: KeptAddress): Promise<string | undefined> {
  let shown: string | undefined;
  await address.follow(
    async (hash) => hash,
    (hash) => {
      shown = hash;
    },
  );
  return shown;
}

function started(hash = "") {
  const bar = new Bar();
  bar.hash = hash;
  return { bar, address: new KeptAddress(bar, hash) };
}

it("writes the last picture after a pause, and hears no link in what it wrote", async () => {
  const { bar, address } = started("#opened");
  const first = vi.fn(async () => "#first");
  address.write(first);
  address.write(async () => "#second");
  await vi.runAllTimersAsync();
  expect(first).not.toHaveBeenCalled();
  expect(bar.written).toEqual(["#second"]);
  expect(await followed(address)).toBeUndefined();
});

it("a link that is followed while the picture is encoded is not written over, and is shown", async () => {
  const { bar, address } = started();
  const { hashOf, end } = encoding();
  address.write(hashOf);
  await vi.runAllTimersAsync();
  expect(hashOf).toHaveBeenCalledOnce();
  bar.hash = "#link";
  end("#picture");
  await vi.runAllTimersAsync();
  expect(bar.written).toEqual([]);
  expect(await followed(address)).toBe("#link");
});

it("nor is one that is heard of while the picture is encoded", async () => {
  const { bar, address } = started();
  const { hashOf, end } = encoding();
  address.write(hashOf);
  await vi.runAllTimersAsync();
  bar.hash = "#link";
  expect(await followed(address)).toBe("#link");
  end("#picture");
  await vi.runAllTimersAsync();
  expect([bar.hash, bar.written]).toEqual(["#link", []]);
});

it("nor one that is heard of in the pause: what was there before it is not encoded any more", async () => {
  const { bar, address } = started();
  const { hashOf } = encoding();
  address.write(hashOf);
  bar.hash = "#link";
  expect(await followed(address)).toBe("#link");
  await vi.runAllTimersAsync();
  expect(hashOf).not.toHaveBeenCalled();
  // The link's own picture is written as any other.
  address.write(async () => "#link again");
  await vi.runAllTimersAsync();
  expect(bar.written).toEqual(["#link again"]);
});

it("of two pictures that are encoded at once the later one stays, in whatever order they are done", async () => {
  const { bar, address } = started();
  const [earlier, later] = [encoding(), encoding()];
  address.write(earlier.hashOf);
  await vi.runAllTimersAsync();
  address.write(later.hashOf);
  await vi.runAllTimersAsync();
  later.end("#later");
  await vi.runAllTimersAsync();
  earlier.end("#earlier");
  await vi.runAllTimersAsync();
  expect(bar.written).toEqual(["#later"]);
});

it("of two links that are read at once the later one is shown, in whatever order they are read", async () => {
  for (const order of [
    ["#one", "#two"],
    ["#two", "#one"],
  ]) {
    const { bar, address } = started();
    const readings = new Map([
      ["#one", encoding()],
      ["#two", encoding()],
    ]);
    const shown: string[] = [];
    const follow = (hash: string) => {
      bar.hash = hash;
      return address.follow(
        (link) => readings.get(link)?.hash ?? Promise.reject(new Error(link)),
        (picture) => {
          shown.push(picture);
        },
      );
    };
    const both = [follow("#one"), follow("#two")];
    for (const hash of order) {
      readings.get(hash)?.end(hash);
      await vi.runAllTimersAsync();
    }
    await Promise.all(both);
    expect(shown).toEqual(["#two"]);
  }
});

it("a picture that changes while a link is read does not take the link away", async () => {
  const { bar, address } = started();
  const reading = encoding();
  const shown: string[] = [];
  bar.hash = "#link";
  const done = address.follow(reading.hashOf, (picture) => {
    shown.push(picture);
  });
  // As the one before does when it has been loaded.
  address.write(async () => "#before");
  reading.end("#link");
  await done;
  expect(shown).toEqual(["#link"]);
});

it("a link that is followed while the first is being shown is another one", async () => {
  const bar = new Bar();
  bar.hash = "#later";
  expect(await followed(new KeptAddress(bar, "#opened"))).toBe("#later");
});
