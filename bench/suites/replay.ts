/** Captures: from the bytes of a file to a verdict for every packet, beside who reads the same file and only prints it. */
import type { BenchCase } from "../measure.ts";
import {
  asFile,
  CAPTURE_CLUSTER,
  CAPTURE_READERS,
  type Capture,
  captureOf,
  columnsMs,
  isHere,
  readerMs,
  verdictsMs,
} from "../workloads/capture.ts";
import { Latest, type Suite, type SuiteOptions } from "./suite.ts";

const PACKETS = 100_000;
const FLOWS = [1_000, 50_000] as const;
/** Where the others read as well: how many flows there are is little to them. */
const OTHERS_AT = 50_000;
/** Roughly, for a capture to be made; and for tshark to read it as often as it takes, the slowest by far. */
const SET_UP_MS = 600;
const SLOWEST_MS = 6_000;

const VERDICTS = "chainwalk, to verdicts";

const clock = () => performance.now();

export const replaySuite: Suite = {
  name: "replay",
  title: "Captures to verdicts",
  summary: `Frames of 64 bytes read from a file (${CAPTURE_CLUSTER}); the others, as whole processes, print a line a packet and decide nothing.`,
  chart: { x: "reader", xLabel: "reader", series: ["flows"] },
  against: { param: "reader", value: VERDICTS },
  absent: () =>
    CAPTURE_READERS.filter((reader) => !isHere(reader)).map(({ name, command }) => `${name}: no ${command} here`),
  cases: ({ seed }: SuiteOptions): readonly BenchCase[] => {
    const captures = new Latest<Capture>();
    return FLOWS.flatMap((flows) => {
      const capture = () => captures.get(String(flows), () => captureOf({ packets: PACKETS, flows, seed }));
      const reading = (
        reader: string,
        setUpMs: number,
        ms: (file: string, capture: Capture) => Promise<number>,
      ): BenchCase => ({
        suite: "replay",
        params: { reader, flows },
        unit: "ns/packet",
        setUpMs,
        prepare: () => ({
          kind: "awaited",
          once: () => asFile(capture().bytes, async (file) => ((await ms(file, capture())) * 1e6) / PACKETS),
        }),
      });
      return [
        reading(VERDICTS, SET_UP_MS, (file, made) => verdictsMs(file, made, clock)),
        reading("chainwalk, to columns", SET_UP_MS, (file, made) => columnsMs(file, made, clock)),
        ...CAPTURE_READERS.filter((reader) => flows === OTHERS_AT && isHere(reader)).map((reader) =>
          reading(reader.name, SET_UP_MS + SLOWEST_MS, async (file) => readerMs(file, reader, clock)),
        ),
      ];
    });
  },
};
