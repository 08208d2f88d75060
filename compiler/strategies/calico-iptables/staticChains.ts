/**
 * The chains that every host has, whatever its policies: hooks into the built-in chains, the paths of workloads and of
 * host endpoints (of which an ordinary Kubernetes install has none), and masquerading.
 *
 * Source: projectcalico/calico felix/rules/static.go, felix/rules/nat.go.
 */
import type { Family } from "../../../dataplane/address.ts";
import { PROTOCOL } from "../../../dataplane/packet.ts";
import type { Chain, Rule, Table } from "../../../dataplane/program.ts";
import { SortedAgain } from "../../again.ts";
import { compareText } from "../../age.ts";
import { action, type FelixRule, felixChain, hashedRules, match } from "./felixRule.ts";
import { ALL_MARKS, MARK } from "./marks.ts";
import { setName } from "./names.ts";

/** Every workload interface (FELIX_INTERFACEPREFIX). */
const WORKLOADS = "cali+";

/** ICMPv6 that a host must hear from its workloads: multicast listener messages, router and neighbour solicitation, neighbour advertisement. */
const ICMPV6_TO_HOST = [130, 131, 132, 133, 135, 136];

export type EndpointToHostAction = "ACCEPT" | "DROP" | "RETURN";

export interface HostOptions {
  readonly family: Family;
  readonly endpointToHost: EndpointToHostAction;
  /** Whether a pool of the family asks for masquerading. */
  readonly masquerade: "on" | "off";
}

const accepted = match.markSet(MARK.accept);
const hostPolicyAccepted = ["Host endpoint policy accepted packet."];
const jump = (chain: string): FelixRule => ({ matches: [], action: action.jump(chain) });
const clearAll: FelixRule = { matches: [], action: action.clearMark(ALL_MARKS) };

/** A table with its own chains after the built-in ones, in order of name as iptables-save lists them. */
function table(name: Table["name"], builtIn: readonly Chain[], own: readonly Chain[]): Table {
  return { name, chains: [...builtIn, ...chainOrder().of(own)] };
}

function hook(name: string, rules: readonly Rule[] = []): Chain {
  return { name, policy: "accept", rules };
}

/** The name under which Felix hashes what it appends to a built-in chain (felix/iptables/table.go). */
function appendsOf(chain: string): string {
  return `${chain}*appends*`;
}

/** Felix inserts its jump at the top of a built-in chain. */
function hooked(name: string): Chain {
  return hook(name, hashedRules([jump(`cali-${name}`)], name));
}

/** What the host's own chains are of, whatever endpoints there are. */
interface HostTables {
  readonly raw: Table;
  readonly mangle: Table;
  readonly nat: Table;
  readonly filter: { readonly builtIn: readonly Chain[]; readonly own: readonly Chain[] };
}

const HOST_TABLES = new Map<string, HostTables>();

/**
 * The tables of a host, with the chains of its endpoints in the filter table. What is the host's own is made once for all
 * programs: hashing its rules takes a millisecond, and a change of the cluster leaves it alone.
 */
export function hostTables(options: HostOptions, endpoints: readonly Chain[], order: SortedAgain<Chain>): Table[] {
  const key = `${options.family} ${options.endpointToHost} ${options.masquerade}`;
  const own = HOST_TABLES.get(key) ?? makeHostTables(options);
  HOST_TABLES.set(key, own);
  const { raw, mangle, nat, filter } = own;
  const chains = order.of([...filter.own, ...endpoints]);
  return [raw, mangle, nat, { name: "filter", chains: [...filter.builtIn, ...chains] }];
}

/** Chains as iptables-save lists them. */
export function chainOrder(): SortedAgain<Chain> {
  return new SortedAgain<Chain>((a, b) => compareText(a.name, b.name));
}

function makeHostTables(options: HostOptions): HostTables {
  return { raw: rawTable(), mangle: mangleTable(options), nat: natTable(options), filter: filterChains(options) };
}

function rawTable(): Table {
  const fromWorkload = match.markSet(MARK.scratch0);
  return table(
    "raw",
    [hooked("PREROUTING"), hooked("OUTPUT")],
    [
      felixChain("cali-PREROUTING", [
        clearAll,
        { matches: [match.interface("in", WORKLOADS)], action: action.setMark(MARK.scratch0) },
        { matches: [fromWorkload], action: action.jump("cali-rpf-skip") },
        { matches: [fromWorkload, match.spoofed], action: action.drop },
        { matches: [match.markClear(MARK.scratch0)], action: action.jump("cali-from-host-endpoint") },
        { matches: [accepted], action: action.accept },
      ]),
      felixChain("cali-OUTPUT", [
        clearAll,
        jump("cali-to-host-endpoint"),
        { matches: [accepted], action: action.accept },
      ]),
      felixChain("cali-from-host-endpoint", []),
      felixChain("cali-to-host-endpoint", []),
      felixChain("cali-rpf-skip", []),
    ],
  );
}

function mangleTable({ family }: HostOptions): Table {
  return table(
    "mangle",
    [hooked("PREROUTING"), hook("INPUT"), hook("FORWARD"), hook("OUTPUT"), hooked("POSTROUTING")],
    [
      felixChain("cali-PREROUTING", [
        { matches: [match.ctState("related", "established")], action: action.accept },
        { matches: [accepted], action: action.accept },
        jump("cali-from-host-endpoint"),
        { matches: [accepted], action: action.accept, comments: hostPolicyAccepted },
      ]),
      felixChain("cali-POSTROUTING", [
        {
          matches: [
            match.inSet(setName(family, "dscp-src-net"), "source"),
            match.notInSet(setName(family, "network-ip-pools"), "destination"),
            match.notInSet(setName(family, "this-host"), "destination"),
          ],
          action: action.jump("cali-egress-dscp"),
          comments: ["set dscp for traffic leaving cluster."],
        },
        { matches: [accepted], action: action.return },
        clearAll,
        { matches: [match.ctState("dnat")], action: action.jump("cali-to-host-endpoint") },
        { matches: [accepted], action: action.return, comments: hostPolicyAccepted },
      ]),
      felixChain("cali-from-host-endpoint", []),
      felixChain("cali-to-host-endpoint", []),
      felixChain("cali-egress-dscp", []),
    ],
  );
}

function natTable({ family, masquerade }: HostOptions): Table {
  return table(
    "nat",
    [
      hooked("PREROUTING"),
      hook("INPUT"),
      hooked("OUTPUT"),
      // The one jump that is appended: masquerading is left to whoever came first.
      hook("POSTROUTING", hashedRules([jump("cali-POSTROUTING")], appendsOf("POSTROUTING"))),
    ],
    [
      felixChain("cali-PREROUTING", [jump("cali-fip-dnat")]),
      felixChain("cali-OUTPUT", [jump("cali-fip-dnat")]),
      felixChain("cali-POSTROUTING", [jump("cali-fip-snat"), jump("cali-nat-outgoing")]),
      felixChain("cali-fip-dnat", []),
      felixChain("cali-fip-snat", []),
      felixChain(
        "cali-nat-outgoing",
        masquerade === "off"
          ? []
          : [
              {
                matches: [
                  match.inSet(setName(family, "masq-ipam-pools"), "source"),
                  match.notInSet(setName(family, "network-ip-pools"), "destination"),
                ],
                action: action.masquerade,
              },
            ],
      ),
    ],
  );
}

function filterChains({ family, endpointToHost }: HostOptions): HostTables["filter"] {
  const hostAction = {
    ACCEPT: action.accept,
    DROP: action.drop,
    RETURN: action.return,
  }[endpointToHost];
  const icmpv6 = ICMPV6_TO_HOST.map(
    (type): FelixRule => ({
      matches: [match.protocol(PROTOCOL.icmpv6), match.icmpv6Type(type)],
      action: action.accept,
    }),
  );
  return {
    builtIn: [
      hooked("INPUT"),
      // What Felix appends stands below everybody else's rules, so that they still see what policy has allowed.
      hook("FORWARD", [
        ...hashedRules([jump("cali-FORWARD")], "FORWARD"),
        ...hashedRules(
          [
            { matches: [accepted], action: action.accept, comments: ["Policy explicitly accepted packet."] },
            { matches: [], action: action.setMark(MARK.accept) },
          ],
          appendsOf("FORWARD"),
        ),
      ]),
      hooked("OUTPUT"),
    ],
    own: [
      felixChain("cali-FORWARD", [
        { matches: [], action: action.clearMark(ALL_MARKS & ~MARK.accept) },
        { matches: [match.markClear(MARK.accept)], action: action.jump("cali-from-hep-forward") },
        { matches: [match.interface("in", WORKLOADS)], action: action.jump("cali-from-wl-dispatch") },
        { matches: [match.interface("out", WORKLOADS)], action: action.jump("cali-to-wl-dispatch") },
        jump("cali-to-hep-forward"),
        jump("cali-cidr-block"),
      ]),
      felixChain("cali-INPUT", [
        { matches: [match.interface("in", WORKLOADS)], action: action.goto("cali-wl-to-host") },
        { matches: [accepted], action: action.accept },
        clearAll,
        jump("cali-from-host-endpoint"),
        { matches: [accepted], action: action.accept, comments: hostPolicyAccepted },
      ]),
      felixChain("cali-OUTPUT", [
        { matches: [accepted], action: action.accept },
        // The host reaches its own workloads, whatever policy says.
        { matches: [match.interface("out", WORKLOADS)], action: action.return },
        clearAll,
        { matches: [match.notCtState("dnat")], action: action.jump("cali-to-host-endpoint") },
        { matches: [accepted], action: action.accept, comments: hostPolicyAccepted },
      ]),
      felixChain("cali-wl-to-host", [
        ...(family === 6 ? icmpv6 : []),
        jump("cali-from-wl-dispatch"),
        { matches: [], action: hostAction, comments: ["Configured DefaultEndpointToHostAction"] },
      ]),
      felixChain("cali-from-hep-forward", []),
      felixChain("cali-to-hep-forward", []),
      felixChain("cali-from-host-endpoint", []),
      felixChain("cali-to-host-endpoint", []),
      felixChain("cali-cidr-block", []),
    ],
  };
}
