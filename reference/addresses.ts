/** Addresses as whole numbers: the reference's own arithmetic, shared with nobody. */
import type { Cidr, IpAddress } from "../dataplane/address.ts";

/** The address as one unsigned number of 32 or 128 bits. */
function numberOf(address: Pick<IpAddress, "words">): bigint {
  let number = 0n;
  for (const word of address.words) number = number * 4_294_967_296n + BigInt.asUintN(32, BigInt(word));
  return number;
}

/** Whether two addresses are the same one. */
export function sameAddress(a: IpAddress, b: IpAddress): boolean {
  return a.family === b.family && numberOf(a) === numberOf(b);
}

/** Whether the address lies between the first and the last address of the block. Families never mix. */
export function liesIn(address: IpAddress, block: Cidr): boolean {
  if (address.family !== block.family) return false;
  const size = 2n ** BigInt((block.family === 4 ? 32 : 128) - block.prefixLength);
  const first = numberOf(block);
  return numberOf(address) >= first && numberOf(address) < first + size;
}

/** The address as people write it: a dotted quad, or groups of hexadecimal digits with the longest run of zeros left out. */
export function addressText(address: IpAddress): string {
  return address.family === 4 ? parts(address, 8).join(".") : withoutZeros(parts(address, 16).map(hexadecimal));
}

function parts(address: IpAddress, bits: 8 | 16): number[] {
  const number = numberOf(address);
  const count = (address.family === 4 ? 32 : 128) / bits;
  return Array.from({ length: count }, (_, index) =>
    Number(BigInt.asUintN(bits, number >> BigInt(bits * (count - 1 - index)))),
  );
}

function hexadecimal(group: number): string {
  return group.toString(16);
}

function withoutZeros(groups: readonly string[]): string {
  const text = groups.join(":");
  for (let length = groups.length; length >= 2; length--) {
    const run = new RegExp(`(^|:)0${":0".repeat(length - 1)}(:|$)`);
    if (run.test(text)) return text.replace(run, "::");
  }
  return text;
}
