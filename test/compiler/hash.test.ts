import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { base32, base64Url, sha1, sha224, sha256, toHex } from "../../compiler/hash.ts";
import { sha3With224Bits } from "../../compiler/keccak.ts";

const HASHES = { sha1, sha224, sha256, "sha3-224": sha3With224Bits };

describe.each(Object.entries(HASHES))("%s", (name, hash) => {
  const known = (data: Uint8Array) => createHash(name).update(data).digest("hex");

  it("agrees with node:crypto on random bytes", () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (data) => toHex(hash(data)) === known(data)));
  });

  it("agrees on every length around the block boundaries", () => {
    for (let length = 0; length <= 150; length++) {
      const data = new Uint8Array(length).fill(length);
      expect(toHex(hash(data)), `${length} bytes`).toBe(known(data));
    }
  });

  it("takes a text as its UTF-8", () => {
    expect(toHex(hash("größe 🦆"))).toBe(known(new TextEncoder().encode("größe 🦆")));
  });
});

describe("alphabets", () => {
  it("base64Url and toHex agree with Buffer", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (data) => {
        expect(base64Url(data)).toBe(Buffer.from(data).toString("base64url"));
        expect(toHex(data)).toBe(Buffer.from(data).toString("hex"));
      }),
    );
  });

  it("base32 writes the vectors of RFC 4648 section 10", () => {
    const vectors = {
      "": "",
      f: "MY",
      fo: "MZXQ",
      foo: "MZXW6",
      foob: "MZXW6YQ",
      fooba: "MZXW6YTB",
      foobar: "MZXW6YTBOI",
    };
    for (const [text, encoded] of Object.entries(vectors)) {
      expect(base32(new TextEncoder().encode(text))).toBe(encoded);
    }
  });
});
