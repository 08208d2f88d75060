/** Readers of captures as peers: the same file, to a line a packet there, to a verdict for every packet here. */
import {
  asFile,
  CAPTURE_CLUSTER,
  CAPTURE_READERS,
  captureOf,
  isHere,
  readerMs,
  verdictsMs,
} from "../workloads/capture.ts";
import type { Peer } from "./peer.ts";

const SIZE = { packets: 200_000, flows: 10_000 };
const PAIRS = 3;

export const readerPeers: readonly Peer[] = CAPTURE_READERS.map((reader) => ({
  name: reader.name,
  what: "a capture of 64-byte frames, packet by packet",
  unit: "ns/packet",
  reasonAgainst: async () => (isHere(reader) ? undefined : `no ${reader.command} here`),
  compare: ({ seed, clock }) => {
    const capture = captureOf({ ...SIZE, seed });
    return asFile(capture.bytes, async (file) => {
      const each = (ms: number): number => (ms * 1e6) / SIZE.packets;
      const ours: number[] = [];
      const theirs: number[] = [];
      await verdictsMs(file, capture, clock);
      for (let pair = 0; pair < PAIRS; pair++) {
        ours.push(each(await verdictsMs(file, capture, clock)));
        theirs.push(each(readerMs(file, reader, clock)));
      }
      const note = `${SIZE.flows} flows, ${CAPTURE_CLUSTER}; theirs is a whole process that prints a line a packet and decides nothing`;
      return { ours, theirs, note };
    });
  },
}));
