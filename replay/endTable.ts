/** The ends of packets, of which source and destination are two: their columns, and what is known of their addresses. */
import type { IpAddress } from "../dataplane/address.ts";
import { AddressTable } from "../dataplane/addressTable.ts";
import type { PacketBatch } from "../dataplane/packet.ts";

export type PacketEnd = "source" | "destination";

/** Address and port as they stand in a batch; words that are missing are 0. */
export interface EndValues {
  readonly words: readonly number[];
  readonly port: number;
}

const COLUMNS = {
  source: { word0: "source0", word1: "source1", word2: "source2", word3: "source3", port: "sourcePort" },
  destination: {
    word0: "destination0",
    word1: "destination1",
    word2: "destination2",
    word3: "destination3",
    port: "destinationPort",
  },
} as const;

export function endOf(batch: PacketBatch, row: number, end: PacketEnd): EndValues {
  const { word0, word1, word2, word3, port } = COLUMNS[end];
  return {
    words: [batch[word0][row] ?? 0, batch[word1][row] ?? 0, batch[word2][row] ?? 0, batch[word3][row] ?? 0],
    port: batch[port][row] ?? 0,
  };
}

export function setEnd(batch: PacketBatch, row: number, end: PacketEnd, { words, port }: EndValues): void {
  const columns = COLUMNS[end];
  batch[columns.word0][row] = words[0] ?? 0;
  batch[columns.word1][row] = words[1] ?? 0;
  batch[columns.word2][row] = words[2] ?? 0;
  batch[columns.word3][row] = words[3] ?? 0;
  batch[columns.port][row] = port;
}

/** Numbers of addresses of both families, each with an extra key as in `AddressTable`. */
export class EndTable {
  readonly #table4 = new AddressTable(4);
  readonly #table6 = new AddressTable(6);

  set({ family, words }: IpAddress, extra: number, value: number): void {
    (family === 4 ? this.#table4 : this.#table6).set(words, extra, value);
  }

  /** The number of a packet's end, or -1. */
  find(batch: PacketBatch, row: number, end: PacketEnd, extra: number): number {
    const { word0, word1, word2, word3 } = COLUMNS[end];
    const first = batch[word0][row] ?? 0;
    if (batch.family[row] === 4) return this.#table4.find4(first, extra);
    return this.#table6.find6(first, batch[word1][row] ?? 0, batch[word2][row] ?? 0, batch[word3][row] ?? 0, extra);
  }
}
