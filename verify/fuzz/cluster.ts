/**
 * Random clusters of the tiny world (domain.ts), as `ClusterModel`s that `validate` would let through. A cluster is a
 * function of fast-check's seed alone; failures shrink to few pods, few rules, plain selectors.
 */
import fc from "fast-check";
import {
  type ClusterModel,
  type ContainerPort,
  type Direction,
  type Endpoint,
  isOnPodNetwork,
  type LabelRequirement,
  type LabelSelector,
  type Namespace,
  type NetworkPolicy,
  type PodPhase,
  type PolicyPeer,
  type PolicyPort,
  type PolicyRule,
} from "../../compiler/model.ts";
import { formatAddress } from "../../dataplane/address.ts";
import {
  blockPeer,
  cluster,
  type LabelRecord,
  namespace,
  node,
  pod,
  podPeer,
  policyPort,
  rule,
  selector,
} from "./builders.ts";
import {
  BLOCKS,
  LABEL_KEYS,
  LABEL_VALUES,
  NAMESPACES,
  NODES,
  PLACES,
  type Place,
  PORT_NAMES,
  PORT_PROTOCOLS,
  PORTS,
} from "./domain.ts";

/** Which families the pods of a cluster have. */
export type Stack = "ipv4" | "dual";

export interface ClusterChoices {
  /** Default: mostly `ipv4`, sometimes `dual`. */
  readonly stack?: Stack;
  /** At most so many policies; default 4. */
  readonly maxPolicies?: number;
}

/** Random clusters: two nodes, three namespaces, up to six pods, up to four policies. */
export function clusterArbitrary(choices: ClusterChoices = {}): fc.Arbitrary<ClusterModel> {
  const stack: fc.Arbitrary<Stack> =
    choices.stack === undefined
      ? fc.oneof({ weight: 3, arbitrary: fc.constant("ipv4") }, { weight: 1, arbitrary: fc.constant("dual") })
      : fc.constant(choices.stack);
  return fc
    .record({
      stack,
      namespaces: fc.tuple(...NAMESPACES.map(namespaceArbitrary)),
      drafts: fc.tuple(...PLACES.map(() => fc.option(podDraftArbitrary, { freq: 6 }))),
      policies: fc.array(policyDraftArbitrary, { maxLength: choices.maxPolicies ?? 4, size: "max" }),
    })
    .map(({ stack, namespaces, drafts, policies }) =>
      cluster({
        nodes: NODES.map((place) =>
          stack === "dual"
            ? node(place.name, [place.ipv4, place.ipv6], place.podCidrs)
            : node(place.name, [place.ipv4], [place.podCidrs[0]]),
        ),
        namespaces,
        endpoints: settle(drafts, stack),
        policies: policies.map((draft, index) => named(draft, index)),
      }),
    );
}

const labelValueArbitrary = fc.oneof(
  { weight: 4, arbitrary: fc.constant(LABEL_VALUES[0]) },
  { weight: 1, arbitrary: fc.constantFrom(...LABEL_VALUES) },
);

/** Labels over the keys of the domain; each key is there or absent, and two pods often agree. */
function labelsArbitrary(): fc.Arbitrary<LabelRecord> {
  const [first, second, third] = LABEL_KEYS;
  const value = labelValueArbitrary;
  return fc.record({ [first]: value, [second]: value, [third]: value }, { requiredKeys: [] });
}

function namespaceArbitrary(name: string): fc.Arbitrary<Namespace> {
  return labelsArbitrary().map((record) => namespace(name, record));
}

/** What is random about a pod; where it is follows from the place. */
interface PodDraft {
  readonly namespace: string;
  readonly labels: LabelRecord;
  readonly ports: readonly ContainerPort[];
  /** `former`: finished, and its status still lists the address that another pod of the node has by now. */
  readonly life: "running" | "pending" | "unknown" | "terminating" | "finished" | "former" | "unaddressed" | "host";
  /** In a dual-stack cluster; elsewhere every pod has IPv4. */
  readonly families: "both" | "ipv4" | "ipv6";
}

/** TCP for the most part, so that policies, containers and packets often agree. */
const portProtocolArbitrary = fc.oneof(
  { weight: 2, arbitrary: fc.constant("TCP" as const) },
  { weight: 1, arbitrary: fc.constantFrom(...PORT_PROTOCOLS) },
);

const containerPortArbitrary: fc.Arbitrary<ContainerPort> = fc.record({
  name: fc.constantFrom(...PORT_NAMES, ...PORT_NAMES, ""),
  port: fc.constantFrom(...PORTS),
  protocol: portProtocolArbitrary,
  container: fc.oneof(
    { weight: 3, arbitrary: fc.constant("container" as const) },
    { weight: 1, arbitrary: fc.constantFrom("sidecar" as const, "init" as const) },
  ),
});

const podDraftArbitrary: fc.Arbitrary<PodDraft> = fc.record({
  namespace: fc.constantFrom(...NAMESPACES),
  labels: labelsArbitrary(),
  ports: fc.uniqueArray(containerPortArbitrary, {
    maxLength: 3,
    // The API server refuses one name twice within a container, and one number and protocol twice makes no sense.
    selector: (port) => (port.name === "" ? `${port.container} ${port.protocol} ${port.port}` : port.name),
  }),
  life: fc.oneof(
    { weight: 12, arbitrary: fc.constant("running" as const) },
    {
      weight: 3,
      arbitrary: fc.constantFrom(
        "pending" as const,
        "unknown" as const,
        "terminating" as const,
        "finished" as const,
        "former" as const,
        "unaddressed" as const,
        "host" as const,
      ),
    },
  ),
  families: fc.oneof(
    { weight: 4, arbitrary: fc.constant("both" as const) },
    { weight: 1, arbitrary: fc.constantFrom("ipv4" as const, "ipv6" as const) },
  ),
});

const CONTAINER_LISTS = ["container", "init", "sidecar"] as const;

const PHASE: Readonly<Record<PodDraft["life"], PodPhase>> = {
  running: "Running",
  pending: "Pending",
  unknown: "Unknown",
  terminating: "Running",
  finished: "Succeeded",
  former: "Failed",
  unaddressed: "Pending",
  host: "Running",
};

/** Puts each draft at its place. */
function settle(drafts: readonly (PodDraft | null)[], stack: Stack): readonly Endpoint[] {
  return drafts.flatMap((draft, index) => {
    const place = PLACES[index];
    if (draft === null || place === undefined) return [];
    return [
      pod(`${draft.namespace}/pod-${index}`, addressesOf(draft, place, stack), {
        labels: draft.labels,
        // As the loader reads a pod: its containers first, then the init containers and sidecars.
        ports: CONTAINER_LISTS.flatMap((list) => draft.ports.filter((port) => port.container === list)),
        node: place.node,
        hostNetwork: draft.life === "host",
        phase: PHASE[draft.life],
        terminating: draft.life === "terminating",
      }),
    ];
  });
}

function addressesOf(draft: PodDraft, place: Place, stack: Stack): readonly string[] {
  const home = holderOf(draft, place);
  if (home === undefined) return [];
  if (stack === "ipv4") return [home.ipv4];
  if (draft.life === "host" || draft.families === "both") return [home.ipv4, home.ipv6];
  return [draft.families === "ipv4" ? home.ipv4 : home.ipv6];
}

/** Whose addresses the status of the pod lists. */
function holderOf(draft: PodDraft, place: Place): { readonly ipv4: string; readonly ipv6: string } | undefined {
  switch (draft.life) {
    case "unaddressed":
      return undefined;
    case "host":
      return NODES.find((candidate) => candidate.name === place.node);
    case "former":
      return PLACES.find((candidate) => candidate.node === place.node);
    default:
      return place;
  }
}

/** Random selectors: everything, one label, one requirement, and now and then several of both. */
export const selectorArbitrary: fc.Arbitrary<LabelSelector> = fc.oneof(
  { weight: 3, arbitrary: fc.constant(selector({})) },
  {
    weight: 2,
    arbitrary: fc
      .tuple(fc.constantFrom(...LABEL_KEYS), labelValueArbitrary)
      .map(([key, value]) => selector({ [key]: value })),
  },
  { weight: 2, arbitrary: requirementArbitrary().map((requirement) => selector({}, [requirement])) },
  {
    weight: 1,
    arbitrary: fc
      .tuple(labelsArbitrary(), fc.array(requirementArbitrary(), { maxLength: 2 }))
      .map(([matchLabels, matchExpressions]) => selector(matchLabels, matchExpressions)),
  },
);

function requirementArbitrary(): fc.Arbitrary<LabelRequirement> {
  const key = fc.constantFrom(...LABEL_KEYS);
  return fc.oneof(
    fc.record({
      key,
      operator: fc.constantFrom("In" as const, "NotIn" as const),
      values: fc.uniqueArray(fc.constantFrom(...LABEL_VALUES), { minLength: 1, maxLength: 2 }),
    }),
    fc.record({
      key,
      operator: fc.constantFrom("Exists" as const, "DoesNotExist" as const),
      values: fc.constant([]),
    }),
  );
}

/** Selectors over namespaces, the name label among them. */
const namespaceSelectorArbitrary: fc.Arbitrary<LabelSelector> = fc.oneof(
  { weight: 3, arbitrary: selectorArbitrary },
  {
    weight: 1,
    arbitrary: fc.constantFrom(...NAMESPACES).map((name) => selector({ "kubernetes.io/metadata.name": name })),
  },
);

/** Random ipBlocks of the nested blocks of the domain. */
export const blockPeerArbitrary: fc.Arbitrary<PolicyPeer> = fc
  .constantFrom(...BLOCKS)
  .chain(({ cidr, exceptions }) => fc.subarray([...exceptions]).map((except) => blockPeer(cidr, except)));

/** Random peers: pods of the own namespace, of others, both selectors, blocks. */
export const peerArbitrary: fc.Arbitrary<PolicyPeer> = fc.oneof(
  selectorArbitrary.map((pods) => podPeer({ pods })),
  namespaceSelectorArbitrary.map((namespaces) => podPeer({ namespaces })),
  fc.tuple(namespaceSelectorArbitrary, selectorArbitrary).map(([namespaces, pods]) => podPeer({ namespaces, pods })),
  blockPeerArbitrary,
);

/** Random port entries: a protocol alone, a number, a range, a name. */
export const portArbitrary: fc.Arbitrary<PolicyPort> = fc
  .record({
    protocol: portProtocolArbitrary,
    port: fc.oneof(
      { weight: 2, arbitrary: fc.constantFrom(...PORTS) },
      { weight: 1, arbitrary: fc.constantFrom(undefined, ...PORT_NAMES) },
    ),
    endPort: fc.option(fc.constantFrom(...PORTS), { freq: 3, nil: undefined }),
  })
  .map(({ protocol, port, endPort }) =>
    typeof port === "number" && endPort !== undefined
      ? policyPort(protocol, Math.min(port, endPort), Math.max(port, endPort))
      : policyPort(protocol, port),
  );

/** Random rules; an empty list of peers or ports (everything) is common. */
export const ruleArbitrary: fc.Arbitrary<PolicyRule> = fc
  .record({ peers: fc.array(peerArbitrary, { maxLength: 3 }), ports: fc.array(portArbitrary, { maxLength: 3 }) })
  .map(({ peers, ports }) => rule(peers, ports));

interface PolicyDraft {
  readonly namespace: string;
  readonly podSelector: LabelSelector;
  readonly types: readonly Direction[];
  readonly ingress: readonly PolicyRule[];
  readonly egress: readonly PolicyRule[];
}

/** Rules may stand under a direction that `types` lacks: they must have no effect. */
const policyDraftArbitrary: fc.Arbitrary<PolicyDraft> = fc.record({
  namespace: fc.constantFrom(...NAMESPACES),
  podSelector: selectorArbitrary,
  types: fc.constantFrom<readonly Direction[]>(["ingress"], ["egress"], ["ingress", "egress"]),
  ingress: fc.array(ruleArbitrary, { maxLength: 2 }),
  egress: fc.array(ruleArbitrary, { maxLength: 2 }),
});

function named(draft: PolicyDraft, index: number): NetworkPolicy {
  const name = `policy-${index}`;
  return {
    ...draft,
    key: `${draft.namespace}/${name}`,
    name,
    uid: "",
    creationTimestamp: "",
    source: { file: "built", line: 0, column: 0 },
  };
}

/** The addresses of pods on the pod network, as text: what a packet must have at one end for policy to matter. */
export function podAddresses(model: ClusterModel): ReadonlySet<string> {
  return new Set(model.endpoints.filter(isOnPodNetwork).flatMap((endpoint) => endpoint.addresses.map(formatAddress)));
}
