/** The recording written again, each packet with what became of it as a comment: for Wireshark and tshark. */
import type { IpAddress } from "../../dataplane/address.ts";
import { CT_STATES, VERDICTS } from "../../dataplane/verdict.ts";
import type { PushedRows } from "../../replay/replay.ts";
import type { Side } from "../../replay/side.ts";
import { capturedFrame, PACKET_LINK_TYPE, packetFrame } from "../../traffic/captureWriter.ts";
import { packetAt } from "../../traffic/packetRow.ts";
import type { CaptureInterface } from "../../traffic/source.ts";
import { PcapngWriter } from "../../traffic/writePcapng.ts";
import { formatDecision } from "../trace.ts";

export class AnnotatedCapture {
  readonly #writer: PcapngWriter;
  readonly #interfaces: readonly CaptureInterface[];
  /** Interface numbers of the recording -> those of the file; rows without a frame have one of their own. */
  readonly #numbers = new Map<number, number>();
  readonly #texts = new Map<Side, string[]>();

  /** `interfaces` are those of the recording, which grow while it is read. */
  constructor(names: Iterable<readonly [IpAddress, string]>, interfaces: readonly CaptureInterface[]) {
    this.#writer = new PcapngWriter({ application: "chainwalk replay" });
    this.#writer.addNames(names);
    this.#interfaces = interfaces;
  }

  rows({ traffic, rows, length, sides }: PushedRows): void {
    for (let at = 0; at < length; at++) {
      const row = rows[at] ?? 0;
      const captured = capturedFrame(traffic, row);
      const frame = captured ?? packetFrame(packetAt(traffic.packets, row));
      const interfaceId = this.#interface(captured === undefined ? BARE : (traffic.interfaceId[row] ?? 0));
      this.#writer.frame({
        ...frame,
        interfaceId,
        comments: sides.map((side) => this.#comment(side, at, sides.length)),
      });
    }
  }

  take(): Uint8Array {
    return this.#writer.take();
  }

  #interface(own: number): number {
    const known = this.#numbers.get(own);
    if (known !== undefined) return known;
    const described = own === BARE ? undefined : this.#interfaces[own];
    const number = this.#writer.addInterface({
      linkType: described?.linkType ?? PACKET_LINK_TYPE,
      ...(described !== undefined && {
        name: described.name,
        description: described.description,
        snapBytes: described.snapBytes,
      }),
    });
    this.#numbers.set(own, number);
    return number;
  }

  /** `after: reject, new, on node-a by filter KUBE-POD-FW-… rule 5 (default/db-policy)` */
  #comment(side: Side, at: number, count: number): string {
    const verdict = VERDICTS[side.verdict[at] ?? 0];
    const state = CT_STATES[side.ctStateOf(at)];
    const cause = side.causeOf(at);
    let texts = this.#texts.get(side);
    if (texts === undefined) {
      texts = [];
      this.#texts.set(side, texts);
    }
    texts[cause] ??= causeText(side, cause);
    return `${count > 1 ? `${side.name}: ` : `${side.strategyName}: `}${verdict}, ${state}${texts[cause]}`;
  }
}

const BARE = -1;

function causeText({ causes }: Side, number: number): string {
  const cause = causes[number];
  if (cause?.because !== undefined) return `, ${cause.because.join("; ")}`;
  if (cause?.decision === undefined) return ", no node sees it";
  const { origin } = cause.decision;
  return `, ${formatDecision(cause.decision)}${origin === undefined ? "" : ` (${origin})`}`;
}
