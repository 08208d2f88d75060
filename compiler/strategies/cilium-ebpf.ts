/**
 * cilium-ebpf: policy as maps. An address becomes an identity in the ipcache (longest prefix), and the endpoint's policy
 * map is asked for that identity and then for identity 0: two look-ups, whatever the number of rules.
 *
 * Layouts of v1.19.7; see dataplane/maps/layout.ts.
 */
import {
  IPCACHE_KEY_BYTES,
  IPCACHE_VALUE_BYTES,
  POLICY_KEY_BYTES,
  POLICY_VALUE_BYTES,
} from "../../dataplane/maps/layout.ts";
import type { Attachment, AttachPoint, MapProgram, MapSpec } from "../../dataplane/program.ts";
import { routedAttachment } from "../attachment.ts";
import { DIRECTIONS, type Endpoint } from "../model.ts";
import { podHash } from "../podHash.ts";
import type { ResolvedCluster } from "../resolve.ts";
import { endpointNumbersOf } from "../update/endpointNumbers.ts";
import { deviations } from "./cilium-ebpf/deviations.ts";
import { identityView } from "./cilium-ebpf/identityLabels.ts";
import { ipcacheOf } from "./cilium-ebpf/ipcache.ts";
import { policyEntries } from "./cilium-ebpf/policyEntries.ts";
import { SHARED_PORT } from "./cilium-ebpf/sharedPort.ts";
import { agentController } from "./cilium-ebpf/update.ts";
import { isMade, type LowerOptions, type Strategy, switchOf } from "./strategy.ts";

const IPCACHE = "cilium_ipcache_v2";
/** pkg/maps/ipcache MaxEntries. */
const IPCACHE_MAX_ENTRIES = 512_000;
/** bpf-policy-map-max. */
const POLICY_MAX_ENTRIES = 16_384;

export const ciliumEbpf: Strategy = {
  name: "cilium-ebpf",
  summary: "Cilium: identities, an ipcache by longest prefix, a policy map for each endpoint",
  sources: [
    "cilium v1.19.7 pkg/k8s/network_policy.go, pkg/policy/{l4,mapstate,selectorcache}.go",
    "cilium v1.19.7 bpf/lib/{policy,eps,conntrack}.h, bpf/bpf_lxc.c, pkg/maps/policymap",
    "cilium v1.19.7 pkg/labelsfilter/filter.go",
  ],
  unsupported: [],
  deviations,
  lapses: [SHARED_PORT],
  denyVerdict: "drop",
  options: [switchOf(SHARED_PORT, "off")],
  attach,
  follow: (start, options) =>
    agentController(start, {
      strategy: ciliumEbpf,
      options,
      endpointMaps: (cluster) => endpointMaps(identityView(cluster), options.node).map(({ policy }) => policy),
      ipcache: IPCACHE,
      sharesPorts: isMade(ciliumEbpf, options, SHARED_PORT),
    }),
  lower(given: ResolvedCluster, options: LowerOptions): MapProgram {
    const cluster = identityView(given);
    const own = endpointMaps(cluster, options.node);
    return {
      kind: "maps",
      strategy: ciliumEbpf.name,
      node: options.node,
      maps: [ipcache(cluster, options.node), ...own.map(({ policy }) => policy)],
      attachPoints: own.flatMap(({ points }) => points),
      attachment: attach(cluster, options),
    };
  },
};

function ipcache(cluster: ResolvedCluster, node: string): MapSpec {
  return {
    name: IPCACHE,
    type: "lpm-trie",
    keyBytes: IPCACHE_KEY_BYTES,
    valueBytes: IPCACHE_VALUE_BYTES,
    maxEntries: IPCACHE_MAX_ENTRIES,
    entries: ipcacheOf(cluster, node),
  };
}

/** What an endpoint has of its own. */
interface EndpointMaps {
  readonly number: number;
  readonly policy: MapSpec;
  readonly points: readonly AttachPoint[];
}

const ENDPOINT_MAPS = new WeakMap<Endpoint, EndpointMaps>();

function endpointMaps(cluster: ResolvedCluster, node: string): readonly EndpointMaps[] {
  const pods = cluster.podsOn(node);
  const numbers = endpointNumbersOf(cluster, pods);
  return pods.map((pod) => mapsOf(cluster, pod, numbers.get(pod) ?? 0));
}

/** The same objects as long as number and entries are the same. */
function mapsOf(cluster: ResolvedCluster, pod: Endpoint, number: number): EndpointMaps {
  const entries = policyEntries(cluster, pod);
  const known = ENDPOINT_MAPS.get(pod);
  if (known?.number === number && known.policy.entries === entries) return known;
  const name = `cilium_policy_v2_${String(number).padStart(5, "0")}`;
  const maps: EndpointMaps = {
    number,
    policy: {
      name,
      type: "lpm-trie",
      keyBytes: POLICY_KEY_BYTES,
      valueBytes: POLICY_VALUE_BYTES,
      maxEntries: POLICY_MAX_ENTRIES,
      entries,
      origin: `pod ${pod.key}`,
    },
    points: DIRECTIONS.map((direction) => ({
      endpoint: pod.key,
      direction,
      plan: { kind: "identity", ipcache: IPCACHE, policy: name },
    })),
  };
  ENDPOINT_MAPS.set(pod, maps);
  return maps;
}

function attach(cluster: ResolvedCluster, { node }: LowerOptions): Attachment {
  return routedAttachment(cluster, {
    node,
    pods: cluster.podsOn(node),
    // The real name has random letters.
    interfaceOf: (pod) => `lxc${podHash(pod, 12)}`,
  });
}
