/** Random targets for random programs (program.ts). */
import fc from "fast-check";
import { PROTOCOL } from "../../dataplane/packet.ts";
import type { RejectWith, Target } from "../../dataplane/program.ts";
import type { RuleSeat } from "./programMatches.ts";

const word = fc.oneof(fc.constantFrom(0, 0x10000, 0x20000, 0xffff_ffff), fc.nat(0xffff_ffff));

const REJECT_WITH: Readonly<Record<4 | 6, readonly RejectWith[]>> = {
  4: [
    "icmp-port-unreachable",
    "icmp-net-unreachable",
    "icmp-host-unreachable",
    "icmp-proto-unreachable",
    "icmp-net-prohibited",
    "icmp-host-prohibited",
    "icmp-admin-prohibited",
  ],
  6: [
    "icmp6-port-unreachable",
    "icmp6-no-route",
    "icmp6-adm-prohibited",
    "icmp6-addr-unreachable",
    "icmp6-policy-fail",
    "icmp6-reject-route",
  ],
};

const NO_TARGET: Target | undefined = undefined;

/** A target that the table allows in the chain, or none. */
export function targetArbitrary(seat: RuleSeat, protocol: number | undefined): fc.Arbitrary<Target | undefined> {
  const { table, family, chain, below } = seat;
  const targets: fc.WeightedArbitrary<Target | undefined>[] = [
    { weight: 1, arbitrary: fc.constant(NO_TARGET) },
    { weight: 3, arbitrary: fc.constantFrom<Target>({ kind: "accept" }, { kind: "return" }) },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant("mark"), value: word, mask: word }) },
    { weight: 1, arbitrary: connmarkArbitrary },
    {
      weight: 1,
      arbitrary: fc.constantFrom<Target>(
        { kind: "log", target: "NFLOG", text: "--nflog-group 100" },
        { kind: "log", target: "LOG", text: '--log-prefix "two words "' },
      ),
    },
  ];
  if (table !== "nat") targets.push({ weight: 2, arbitrary: fc.constant<Target>({ kind: "drop" }) });
  if (below.length > 0) {
    const to = fc.constantFrom(...below);
    targets.push(
      { weight: 4, arbitrary: fc.record({ kind: fc.constant("jump"), chain: to }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant("goto"), chain: to }) },
    );
  }
  if (table === "filter") {
    const names = protocol === PROTOCOL.tcp ? [...REJECT_WITH[family], "tcp-reset" as const] : REJECT_WITH[family];
    targets.push({ weight: 2, arbitrary: fc.record({ kind: fc.constant("reject"), with: fc.constantFrom(...names) }) });
  }
  if (table === "raw") {
    targets.push(
      { weight: 1, arbitrary: fc.constant<Target>({ kind: "notrack" }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant("ctZone"), zone: fc.constantFrom(1, 5, 65_535) }) },
    );
  }
  if (table === "nat" && chain === "POSTROUTING") {
    targets.push({
      weight: 1,
      arbitrary: fc.constantFrom<Target>(
        { kind: "nat", target: "MASQUERADE", text: "" },
        { kind: "nat", target: "MASQUERADE", text: "--random-fully" },
      ),
    });
  }
  return fc.oneof(...targets);
}

const connmarkArbitrary: fc.Arbitrary<Target> = fc.oneof(
  fc.record({ kind: fc.constant("connmark"), operation: fc.constant("set"), value: word, mask: word }),
  fc.record({
    kind: fc.constant("connmark"),
    operation: fc.constantFrom("save", "restore"),
    value: fc.constant(0),
    mask: word,
  }),
);
