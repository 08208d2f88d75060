/** Checksums of Internet packets. */

/**
 * The Internet checksum (RFC 1071) of `bytes[start, end)`: complement of the one's complement sum of 16-bit words, an odd
 * last byte padded with zero. `sum` is what was added up before, e.g. of a pseudo header.
 */
export function inetChecksum(bytes: Uint8Array, start: number, end: number, sum: number): number {
  let total = sum;
  const even = end - ((end - start) & 1);
  for (let at = start; at < even; at += 2) total += ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
  if (even < end) total += (bytes[even] ?? 0) << 8;
  // 64 KiB of 0xffff stays below 2^31, so carries can wait until here.
  while (total > 0xffff) total = (total & 0xffff) + (total >>> 16);
  return ~total & 0xffff;
}

/** Reversed Castagnoli polynomial (RFC 9260 appendix A). */
const CASTAGNOLI = 0x82f63b78;

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ CASTAGNOLI : crc >>> 1;
  return crc;
});

/** CRC32c of `bytes[start, end)`, unsigned, as SCTP wants it. */
export function crc32c(bytes: Uint8Array, start: number, end: number): number {
  let crc = 0xffffffff;
  for (let at = start; at < end; at++) crc = (CRC_TABLE[(crc ^ (bytes[at] ?? 0)) & 255] ?? 0) ^ (crc >>> 8);
  return ~crc >>> 0;
}
