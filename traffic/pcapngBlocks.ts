/**
 * The words of pcapng that its reader and its writer share (draft-ietf-opsawg-pcapng).
 *
 *   block   0 type · 4 length of all of it · 8 body, in whole words · length − 4 the length again
 *   option  0 code · 2 length of the value · 4 the value, padded to whole words; code 0 ends the list
 */

export const BLOCK = {
  section: 0x0a0d0d0a,
  interface: 1,
  /** Obsolete, still written by old tools. */
  packet: 2,
  simplePacket: 3,
  nameResolution: 4,
  interfaceStatistics: 5,
  enhancedPacket: 6,
} as const;

export const BYTE_ORDER_MAGIC = 0x1a2b3c4d;

/** Of every block. */
export const OPTION = { end: 0, comment: 1 } as const;

export const SECTION_OPTION = { hardware: 2, os: 3, application: 4 } as const;

export const INTERFACE_OPTION = { name: 2, description: 3, resolution: 9, filter: 11, os: 12, offset: 14 } as const;

export const PACKET_OPTION = { flags: 2 } as const;

export const STATISTICS_OPTION = { received: 4, dropped: 5 } as const;

export const NAME_RECORD = { end: 0, ipv4: 1, ipv6: 2 } as const;

/** The next multiple of four. */
export function padded(length: number): number {
  return (length + 3) & ~3;
}

/** An option's value is `bytes[start, start + length)` of the window it was found in. */
export interface OptionPlace {
  readonly code: number;
  readonly start: number;
  readonly length: number;
}

/** The options in [start, end). Ends at the first one that does not fit, as Wireshark does. */
export function optionsIn(
  view: DataView,
  place: { readonly start: number; readonly end: number; readonly isLittleEndian: boolean },
): readonly OptionPlace[] {
  const { end, isLittleEndian } = place;
  const found: OptionPlace[] = [];
  for (let at = place.start; at + 4 <= end; ) {
    const code = view.getUint16(at, isLittleEndian);
    const length = view.getUint16(at + 2, isLittleEndian);
    if (code === OPTION.end || at + 4 + length > end) break;
    found.push({ code, start: at + 4, length });
    at += 4 + padded(length);
  }
  return found;
}
