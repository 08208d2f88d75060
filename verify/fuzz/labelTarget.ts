/**
 * Clusters and their matrix at the level of labels, as fast as they can be had: who may speak to whom, every pod to every
 * other one on one port, a strategy against the API text. The corners of addresses, ports, text and engines are
 * the other targets'; this one is for corners of selectors, namespaces and types, of which there are many and cheap ones.
 *
 * A run is one strategy's programs for one cluster, compiled, loaded, and asked about the cluster's matrix.
 *
 * What makes it lean: clusters of labels alone (labelCluster.ts), of one node and one family; each is drawn, resolved and
 * asked of the API text once for all strategies, and most are made of the one before, so that what did not change is
 * neither resolved nor lowered nor filled into sets again; the walk itself, since learning classes costs more than the few packets
 * of a matrix; the reference asked with the few pods and policies that have a say; programs of one cluster in thirty-two
 * held against the rules of programs and looked at for features; no packets beside the matrix; the programs' text read
 * again only every `TEXT_STRIDE`-th time.
 */
import type { ClusterModel } from "../../compiler/model.ts";
import { isOnPodNetwork } from "../../compiler/model.ts";
import type { ResolvedCluster } from "../../compiler/resolve.ts";
import type { IpAddress } from "../../dataplane/address.ts";
import { makePacket, type Packet, PROTOCOL } from "../../dataplane/packet.ts";
import { evaluate } from "../../reference/evaluate.ts";
import { compileAll, lowerAll } from "./answers.ts";
import { type FuzzCase, packetSteps } from "./case.ts";
import { type ClusterTargetOptions, suspectOf } from "./clusterTarget.ts";
import { type Contest, DEVIATION_STRIDE, FreshCourt, Trial, thrownBy } from "./contest.ts";
import { ClusterCorpus, clusterFiles } from "./corpus.ts";
import { inputFeatures } from "./coverage.ts";
import { PORTS } from "./domain.ts";
import { drawLabels } from "./labelCluster.ts";
import type { FuzzEvent, FuzzTarget } from "./target.ts";

/** A cluster is made of the one before, until one in so many begins anew: from nothing, or from a kept one. */
const STORY_LENGTH = 16;
/** The programs of one cluster in so many are verified, and looked at for features. */
const LOOK_STRIDE = 32;
/** and of one in so many also held against their own text. */
const TEXT_STRIDE = 256;

export class LabelTarget implements FuzzTarget {
  readonly name = "labels";
  readonly corpus = new ClusterCorpus();
  readonly #options: ClusterTargetOptions;
  readonly #court = new FreshCourt({ engine: "walk", deviationStride: DEVIATION_STRIDE });
  #count = 0;
  /** The cluster of the story so far, if one goes on. */
  #before: ResolvedCluster | undefined;

  constructor(options: ClusterTargetOptions) {
    this.#options = options;
  }

  step(): readonly FuzzEvent[] {
    const { random, contests, coverage } = this.#options;
    const [first] = contests;
    if (first === undefined) throw new Error("nobody is accused");
    this.#count++;
    const other = this.corpus.pick(random);
    if (random.oneIn(STORY_LENGTH)) this.#before = undefined;
    const kept = this.#before?.model ?? (random.oneIn(4) ? undefined : other);
    const model = drawLabels(random, kept, other);
    inputFeatures(model, coverage);
    const packets = matrixOf(model, random.pick(PORTS));
    const subject: FuzzCase = { model, steps: packetSteps(packets), fresh: true };
    const looks = this.#count % LOOK_STRIDE === 0;
    const events: FuzzEvent[] = [];
    const asked: Contest[] = [...contests];
    if (this.#count % TEXT_STRIDE === LOOK_STRIDE) {
      const accused = new Set(contests.map((contest) => contest.accused));
      asked.push(...[...accused].map((one) => ({ accused: one, against: { kind: "import" } as const })));
    }
    let trial: Trial;
    try {
      trial = new Trial(subject, looks ? compileAll : lowerAll, this.#before);
      this.#before = trial.cluster;
    } catch (error) {
      const disagreement = thrownBy({ accused: first.accused.name, against: "resolve" }, error);
      return [{ kind: "suspect", suspect: suspectOf(subject, { contest: first, disagreement, said: [] }) }];
    }
    for (const one of asked) {
      const disagreement = this.#court.hold(one, trial, looks ? coverage : undefined);
      if (disagreement === undefined) continue;
      this.#showsAnew(one, subject);
      const packet = disagreement.step === undefined ? undefined : packets[disagreement.step];
      const said = packet === undefined ? [] : evaluate(model, packet).because;
      events.push({ kind: "suspect", suspect: suspectOf(subject, { contest: one, disagreement, said }) });
    }
    events.push({ kind: "ran", runs: asked.length });
    if (coverage.take() > 0) {
      this.corpus.add(model);
      events.push({ kind: "kept", files: clusterFiles(model, packets) });
    }
    return events;
  }

  /** A finding is tried again from its manifests alone; what shows only in a story would be lost there. */
  #showsAnew(contest: Contest, subject: FuzzCase): void {
    if (this.#court.hold(contest, new Trial(subject)) !== undefined) return;
    throw new Error(
      `${contest.accused.name}: what is made of a cluster and the one before it differs from what is made of it alone`,
    );
  }
}

/** Every pod to every other one, to one port; senders speak from ports of their own. */
function matrixOf({ endpoints }: ClusterModel, destinationPort: number): readonly Packet[] {
  const packets: Packet[] = [];
  const addresses = endpoints.flatMap((pod): readonly IpAddress[] => (isOnPodNetwork(pod) ? pod.addresses : []));
  for (const [from, source] of addresses.entries()) {
    for (const [to, destination] of addresses.entries()) {
      if (from === to || source.family !== destination.family) continue;
      const sourcePort = FIRST_CLIENT + packets.length;
      packets.push(makePacket({ protocol: PROTOCOL.tcp, source, destination, sourcePort, destinationPort }));
    }
  }
  return packets;
}

const FIRST_CLIENT = 20_000;
