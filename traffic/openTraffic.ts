/** Traffic of any format: the first bytes say which. */
import { ByteWindow } from "./byteWindow.ts";
import { AwsVpcReader } from "./logs/awsVpc.ts";
import { CalicoReader } from "./logs/calico.ts";
import { CsvReader } from "./logs/csv.ts";
import { HubbleReader } from "./logs/hubble.ts";
import type { LogReader } from "./logs/logReader.ts";
import { LogSource } from "./logs/logSource.ts";
import { PacketLineReader } from "./logs/packetLines.ts";
import { sniffLog } from "./logs/sniffLog.ts";
import { ZeekReader } from "./logs/zeek.ts";
import { isPcapMagic, readPcap } from "./readPcap.ts";
import { isPcapngMagic, readPcapng } from "./readPcapng.ts";
import {
  TRAFFIC_FORMATS,
  TrafficError,
  type TrafficFormat,
  type TrafficOptions,
  type TrafficSource,
} from "./source.ts";

/** Most of a log that is looked at to tell its format. */
const SNIFF_BYTES = 1 << 16;

const DECODER = new TextDecoder();

/**
 * Reads as much as tells the format. Compressed input is the caller's to open first. Throws `TrafficError` when no format fits;
 * whatever is wrong further on is an issue of the source. Empty input is a source without packets.
 */
export async function openTraffic(
  input: AsyncIterable<Uint8Array>,
  options: TrafficOptions = {},
): Promise<TrafficSource> {
  const window = new ByteWindow(input);
  const format = options.format ?? (await sniff(window));
  switch (format) {
    case "pcap":
      return readPcap(window, options);
    case "pcapng":
      return readPcapng(window, options);
    default:
      return new LogSource(window, readerOf(format), options);
  }
}

function readerOf(format: Exclude<TrafficFormat, "pcap" | "pcapng">): LogReader {
  switch (format) {
    case "hubble":
    case "cilium-flow":
      return new HubbleReader(format);
    case "calico-flow":
      return new CalicoReader();
    case "aws-vpc":
      return new AwsVpcReader();
    case "zeek":
      return new ZeekReader();
    case "csv":
      return new CsvReader();
    case "packets":
      return new PacketLineReader();
  }
}

async function sniff(window: ByteWindow): Promise<TrafficFormat> {
  await window.fill(4);
  const magic = window.available < 4 ? 0 : window.view.getUint32(window.start);
  if (isPcapMagic(magic)) return "pcap";
  if (isPcapngMagic(magic)) return "pcapng";
  const line = await firstLine(window);
  if (line === undefined) return "packets";
  const format = sniffLog(line);
  if (format !== undefined) return format;
  if (/^[[{]$|^\{\s*"\w+":\s*[[{]?$/.test(line)) {
    throw new TrafficError(
      `JSON over several lines; logs have one record a line: jq -c . FILE, or jq -c '.[]' FILE where it is one list`,
      0,
    );
  }
  const start = line.length > 60 ? `${line.slice(0, 57)}...` : line;
  throw new TrafficError(
    `no known traffic format: it starts with ${JSON.stringify(start)}; read are ${TRAFFIC_FORMATS.join(", ")}`,
    0,
  );
}

/** The first line with something in it; nothing is taken from the window. Undefined: there is none. */
async function firstLine(window: ByteWindow): Promise<string | undefined> {
  for (;;) {
    const text = DECODER.decode(window.bytes.subarray(window.start, window.end)).trimStart();
    const end = text.indexOf("\n");
    if (end >= 0) return text.slice(0, end).trimEnd();
    const isEnough = window.available >= SNIFF_BYTES;
    if (isEnough || !(await window.fill(window.available + 1))) return text === "" ? undefined : text;
  }
}
