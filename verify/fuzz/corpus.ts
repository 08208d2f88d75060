/**
 * Cases worth keeping, in memory and as files. A file is named by its content, and is itself something to trace:
 *
 *     clusters/NAME.yaml   manifests: chainwalk trace -f clusters/NAME.yaml --packets clusters/NAME.jsonl
 *     clusters/NAME.jsonl  packets that met them
 *     histories/NAME/      cluster.yaml and scenario.yaml, as a scenario folder has them
 *     TARGET/NAME.…        an input for a reader
 */
import { loadCluster } from "../../compiler/compile.ts";
import type { ClusterModel } from "../../compiler/model.ts";
import type { Packet } from "../../dataplane/packet.ts";
import { packetToObject } from "../../traffic/packetObject.ts";
import type { Random } from "../kernel/random.ts";
import { clusterText, contentName } from "./finding.ts";

/** Path below the folder, and what is in it. */
export interface CorpusFile {
  readonly path: string;
  readonly content: string | Uint8Array;
}

/** Of the packets of a case, so many are written beside it. */
const SHOWN_PACKETS = 12;

export function clusterFiles(model: ClusterModel, packets: readonly Packet[]): readonly CorpusFile[] {
  const manifests = clusterText(model);
  const name = `clusters/${contentName(manifests)}`;
  const stride = Math.max(1, Math.ceil(packets.length / SHOWN_PACKETS));
  const lines = packets
    .filter((_, index) => index % stride === 0)
    .map((packet) => JSON.stringify(packetToObject(packet)));
  // Packets first: where the manifests are, the case is whole.
  return [
    { path: `${name}.jsonl`, content: `${lines.join("\n")}\n` },
    { path: `${name}.yaml`, content: manifests },
  ];
}

/** Undefined: the file is cut short, or is none of ours. */
export function clusterFromFile({ path, content }: CorpusFile): ClusterModel | undefined {
  return typeof content === "string" ? loadCluster([{ name: path, text: content }]).model : undefined;
}

/** Kept clusters. Of the many, those of late are picked more often: they showed what nobody had shown before. */
export class ClusterCorpus {
  readonly #models: ClusterModel[] = [];

  get size(): number {
    return this.#models.length;
  }

  add(model: ClusterModel): void {
    if (this.#models.length >= MOST_MODELS) this.#models.splice(0, MOST_MODELS / 4);
    this.#models.push(model);
  }

  pick(random: Random): ClusterModel | undefined {
    const count = this.#models.length;
    if (count === 0) return undefined;
    const from = random.oneIn(2) ? Math.max(0, count - LATE) : 0;
    return this.#models[from + random.below(count - from)];
  }
}

/** Each is some ten kilobytes. */
const MOST_MODELS = 8_192;
const LATE = 256;
