/** Traffic of any format: the first bytes say which. */
import { ByteWindow } from "./byteWindow.ts";
import { isPcapMagic, readPcap } from "./readPcap.ts";
import { isPcapngMagic, readPcapng } from "./readPcapng.ts";
import {
  TRAFFIC_FORMATS,
  TrafficError,
  type TrafficFormat,
  type TrafficOptions,
  type TrafficSource,
} from "./source.ts";

/**
 * Reads as much as tells the format. Compressed input is the caller's to open first. Throws `TrafficError` when no format fits;
 * whatever is wrong further on is an issue of the source.
 */
export async function openTraffic(
  input: AsyncIterable<Uint8Array>,
  options: TrafficOptions = {},
): Promise<TrafficSource> {
  const window = new ByteWindow(input);
  await window.fill(4);
  const format = options.format ?? sniff(window);
  switch (format) {
    case "pcap":
      return readPcap(window, options);
    case "pcapng":
      return readPcapng(window, options);
    default:
      throw new TrafficError(`no known traffic format: allowed are ${TRAFFIC_FORMATS.join(", ")}`, 0);
  }
}

function sniff(window: ByteWindow): TrafficFormat | undefined {
  const magic = window.available < 4 ? 0 : window.view.getUint32(window.start);
  if (isPcapMagic(magic)) return "pcap";
  if (isPcapngMagic(magic)) return "pcapng";
  return undefined;
}
