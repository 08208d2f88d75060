/** The chains that do not depend on pods and policies (npc_iptables.go `ensureTopLevelChains` and what follows it). */
import type { Cidr, Family } from "../../../dataplane/address.ts";
import { formatCidr } from "../../../dataplane/address.ts";
import { PROTOCOL } from "../../../dataplane/packet.ts";
import type { Chain, Match, Rule, Target } from "../../../dataplane/program.ts";
import { rememberedBy } from "../../again.ts";
import {
  ACCEPT,
  block,
  comment,
  DROP,
  jumpTo,
  marked,
  notInSet,
  ofProtocol,
  RETURN,
  setMark,
} from "../../ruleParts.ts";
import { ALLOWED_MARK, PASSED_MARK } from "./marks.ts";
import { COMMON_CHAIN, DEFAULT_CHAIN, inFamily, LOCAL_PODS_SET, shortHash, TAIL_CHAIN, TOP_LEVEL } from "./names.ts";
import { REJECT_WITH } from "./pods.ts";
import type { Exempt, Settings } from "./settings.ts";

/**
 * The comment of a rule that has to stay where it is, by which kube-router finds it again: ` - ` and a hash of the chain
 * and of the arguments, `text` as their comment among them.
 */
function placedComment(chain: string, text: string, args: readonly string[]): Match {
  return comment(`${text} - ${shortHash(chain + args.join(""))}`);
}

/** INPUT, FORWARD and OUTPUT: each begins with its jump. */
export function builtInChains(): readonly Chain[] {
  return (["INPUT", "FORWARD", "OUTPUT"] as const).map((hook): Chain => {
    const text = "kube-router netpol";
    const args = ["-m", "comment", "--comment", text, "-j", TOP_LEVEL[hook]];
    return {
      name: hook,
      policy: "accept",
      rules: [{ matches: [placedComment(hook, text, args)], target: jumpTo(TOP_LEVEL[hook]) }],
    };
  });
}

/** What pods may always send their node: service addresses and node ports. The same rules wherever the settings are. */
export function exemptRules({ exempt }: Settings, family: Family): readonly Rule[] {
  return rememberedBy(EXEMPT_RULES[family], exempt, () => makeExemptRules(exempt, family));
}

const EXEMPT_RULES = {
  4: new WeakMap<Exempt, readonly Rule[]>(),
  6: new WeakMap<Exempt, readonly Rule[]>(),
} as const satisfies Record<Family, unknown>;

function makeExemptRules(exempt: Exempt, family: Family): readonly Rule[] {
  const ofFamily = (ranges: readonly Cidr[]) => ranges.filter((range) => range.family === family);
  return [
    ...ofFamily(exempt.clusterRanges).map((range) =>
      exemptRange(range, "allow traffic to primary/secondary cluster IP range"),
    ),
    ...(["tcp", "udp", "sctp"] as const).map((protocol) => exemptNodePorts(exempt, protocol)),
    ...ofFamily(exempt.externalRanges).map((range) =>
      exemptRange(range, `allow traffic to external IP range: ${formatCidr(range)}`),
    ),
    ...ofFamily(exempt.loadBalancerRanges).map((range) =>
      exemptRange(range, `allow traffic to load balancer IP range: ${formatCidr(range)}`),
    ),
  ];
}

function exemptRange(range: Cidr, text: string): Rule {
  const args = ["-m", "comment", "--comment", text, "-d", formatCidr(range), "-j", "RETURN"];
  return { matches: [placedComment(TOP_LEVEL.INPUT, text, args), block("destination", range)], target: RETURN };
}

function exemptNodePorts({ nodePorts }: Exempt, protocol: "tcp" | "udp" | "sctp"): Rule {
  const text = `allow LOCAL ${protocol.toUpperCase()} traffic to node ports`;
  const ports = `${nodePorts.first}:${nodePorts.last}`;
  const args = ["-p", protocol, "-m", "comment", "--comment", text, "-m", "addrtype", "--dst-type", "LOCAL"].concat([
    "-m",
    "multiport",
    "--dports",
    ports,
    "-j",
    "RETURN",
  ]);
  return {
    matches: [
      ofProtocol(PROTOCOL[protocol]),
      placedComment(TOP_LEVEL.INPUT, text, args),
      { kind: "addressType", side: "destination", type: "LOCAL", negate: false },
      { kind: "ports", side: "destination", ranges: [nodePorts], extension: "multiport", negate: false },
    ],
    target: RETURN,
  };
}

/** ICMP that COMMON lets pass whatever the policies say (pkg/utils `CommonICMPRules`), in its order. */
export const COMMON_ICMP = {
  4: [
    [8, "echo requests"],
    [3, "destination unreachable messages"],
    [11, "time exceeded messages"],
  ],
  6: [
    [128, "echo requests"],
    [1, "destination unreachable messages"],
    [3, "time exceeded messages"],
    [135, "neighbor solicitation messages"],
    [136, "neighbor advertisement messages"],
    [129, "echo reply messages"],
  ],
} as const satisfies Readonly<Record<Family, readonly (readonly [type: number, name: string])[]>>;

/** The first thing in each pod's chain. */
export function commonChain(family: Family): Chain {
  const inState = (states: readonly ("invalid" | "related" | "established")[]): Match => ({
    kind: "ctState",
    states,
    extension: "conntrack",
    negate: false,
  });
  return {
    name: COMMON_CHAIN,
    rules: [
      // The quotes around these two are part of the comment: it is quoted twice on its way to iptables.
      { matches: [comment('"rule to drop invalid state for pod"'), inState(["invalid"])], target: DROP },
      {
        matches: [comment('"rule for stateful firewall for pod"'), inState(["related", "established"])],
        target: ACCEPT,
      },
      ...COMMON_ICMP[family].map(([type, name]): Rule => {
        return {
          matches: [
            ofProtocol(family === 4 ? PROTOCOL.icmp : PROTOCOL.icmpv6),
            comment(`allow icmp ${name}`),
            { kind: "icmp", family, type, negate: false },
          ],
          target: ACCEPT,
        };
      }),
    ],
  };
}

/** Where a pod's chain goes for a direction in which no policy isolates the pod. */
export function defaultChain(): Chain {
  return {
    name: DEFAULT_CHAIN,
    rules: [
      {
        matches: [comment("rule to mark traffic matching a network policy")],
        target: setMark(ALLOWED_MARK, ALLOWED_MARK),
      },
    ],
  };
}

/** Behind all pods' chains. With default deny also: what comes from or goes to pods that have no chain yet. */
export function tailChain({ defaultDeny }: Settings, podCidrs: readonly Cidr[], family: Family): Chain {
  if (!defaultDeny) return TAIL;
  const rejected: Target = { kind: "reject", with: REJECT_WITH[family] };
  const denied = podCidrs.filter((cidr) => cidr.family === family);
  const sides = ["source", "destination"] as const;
  return {
    name: TAIL_CHAIN,
    rules: [
      ...denied.flatMap((cidr) =>
        sides.map(
          (side): Rule => ({
            matches: [
              block(side, cidr),
              comment("reject unprogrammed local pod (default-deny)"),
              notInSet(inFamily(LOCAL_PODS_SET, family), side),
            ],
            target: rejected,
          }),
        ),
      ),
      ACCEPT_PASSED,
      ...denied.flatMap((cidr) =>
        sides.map(
          (side): Rule => ({
            matches: [block(side, cidr), comment("reject pre-netpol (default-deny)")],
            target: rejected,
          }),
        ),
      ),
    ],
  };
}

const ACCEPT_PASSED: Rule = {
  matches: [comment("accept netpol-ok"), marked(PASSED_MARK, PASSED_MARK)],
  target: ACCEPT,
};
const TAIL: Chain = { name: TAIL_CHAIN, rules: [ACCEPT_PASSED] };
