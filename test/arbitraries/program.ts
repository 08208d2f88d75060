/**
 * Random table programs over everything the instruction set can say, not only what a strategy happens to emit: nested
 * jumps and gotos, returns, marks, sets of all types, exceptions, negations, ranges. Every program is sound
 * (`verifyProgram` has nothing to say) and in the form that the save commands print, so that rendering one and reading
 * it back is the identity. Addresses, ports and devices are those of the tiny world (domain.ts).
 */
import fc from "fast-check";
import type { Family } from "../../dataplane/address.ts";
import {
  type Attachment,
  BUILT_IN_CHAINS,
  type Chain,
  type FamilyTables,
  type Hook,
  type IPSet,
  type Rule,
  type Table,
  type TableName,
  type TableProgram,
} from "../../dataplane/program.ts";
import { address } from "../../verify/fuzz/builders.ts";
import { NODES, PLACES } from "../../verify/fuzz/domain.ts";
import { extensionMatchesArbitrary, headerArbitrary, type RuleSeat } from "./programMatches.ts";
import { setsArbitrary } from "./programSets.ts";
import { targetArbitrary } from "./programTargets.ts";

export interface ProgramChoices {
  /** Default: IPv4, sometimes IPv6 too. */
  readonly families?: readonly Family[];
  /** Which tables a program may have; default all but security, which many kernels lack. */
  readonly tables?: readonly TableName[];
  /** Default: `ATTACHMENT`. */
  readonly attachment?: Attachment;
}

export const PROGRAM_NODE = "node-a";

/** The three places of node-a, each pod on an interface of its own. */
export const ATTACHMENT: Attachment = {
  uplink: "eth0",
  pods: PLACES.filter(({ node }) => node === PROGRAM_NODE).map(({ ipv4, ipv6 }, index) => ({
    endpoint: `default/pod-${index}`,
    addresses: [address(ipv4), address(ipv6)],
    interface: `cali${index}`,
  })),
  remotePodAddresses: [],
  localAddresses: NODES.filter(({ name }) => name === PROGRAM_NODE).flatMap(({ ipv4, ipv6 }) => [
    address(ipv4),
    address(ipv6),
  ]),
};

const DEFAULT_TABLES: readonly TableName[] = ["raw", "mangle", "nat", "filter"];

/** Random programs: up to three tables a family, four user chains a table, five rules a chain. */
export function programArbitrary(choices: ProgramChoices = {}): fc.Arbitrary<TableProgram> {
  const families =
    choices.families === undefined
      ? fc.oneof(
          { weight: 3, arbitrary: fc.constant<readonly Family[]>([4]) },
          { weight: 1, arbitrary: fc.constant<readonly Family[]>([4, 6]) },
        )
      : fc.constant(choices.families);
  const tables = choices.tables ?? DEFAULT_TABLES;
  return families.chain((chosen) =>
    fc.tuple(...chosen.map((family) => setsArbitrary(family))).chain((setsOfFamilies) =>
      fc
        .tuple(...chosen.map((family, index) => familyArbitrary({ family, tables, sets: setsOfFamilies[index] ?? [] })))
        .map(
          (programmed): TableProgram => ({
            kind: "tables",
            strategy: "random",
            node: PROGRAM_NODE,
            sets: listsLast(setsOfFamilies.flat()),
            families: programmed,
            attachment: choices.attachment ?? ATTACHMENT,
          }),
        ),
    ),
  );
}

/** As `ipset save` has them. */
function listsLast(sets: readonly IPSet[]): readonly IPSet[] {
  const isList = ({ type }: IPSet) => type === "list:set";
  return [...sets.filter((set) => !isList(set)), ...sets.filter(isList)];
}

interface FamilyShape {
  readonly family: Family;
  readonly tables: readonly TableName[];
  readonly sets: readonly IPSet[];
}

function familyArbitrary({ family, tables, sets }: FamilyShape): fc.Arbitrary<FamilyTables> {
  return fc
    .subarray([...tables], { minLength: 1, maxLength: Math.min(3, tables.length) })
    .chain((names) => fc.tuple(...names.map((name) => tableArbitrary(name, family, sets))))
    .map((programmed) => ({ family, tables: programmed }));
}

/**
 * Chains of the user in the order of the save commands, which is by name. Each may jump to later ones only, so that no
 * program loops.
 */
const USER_CHAINS = ["CHAIN-A", "KUBE-B", "cali-pi-_c.d/e", "weave~f|{x}"] as const;

function tableArbitrary(table: TableName, family: Family, sets: readonly IPSet[]): fc.Arbitrary<Table> {
  const hooks: readonly Hook[] = BUILT_IN_CHAINS[table];
  return fc.integer({ min: 0, max: USER_CHAINS.length }).chain((count) => {
    const user = USER_CHAINS.slice(0, count);
    const builtIn = hooks.map((hook) =>
      fc
        .record({
          policy: fc.constantFrom<"accept" | "drop">("accept", "accept", table === "nat" ? "accept" : "drop"),
          rules: rulesArbitrary({ table, family, sets, chain: hook, below: user }),
        })
        .map(({ policy, rules }): Chain => ({ name: hook, policy, rules })),
    );
    const users = user.map((name, index) =>
      rulesArbitrary({ table, family, sets, chain: name, below: user.slice(index + 1) }).map(
        (rules): Chain => ({ name, rules }),
      ),
    );
    return fc.tuple(...builtIn, ...users).map((chains) => ({ name: table, chains }));
  });
}

function rulesArbitrary(seat: RuleSeat): fc.Arbitrary<readonly Rule[]> {
  return fc.array(ruleArbitrary(seat), { maxLength: 5 });
}

/** One rule for its place in the program. */
export function ruleArbitrary(seat: RuleSeat): fc.Arbitrary<Rule> {
  // What can follow a header depends on its protocol alone; made once for each, since making it costs more than drawing.
  const rests = new Map<number | undefined, ReturnType<typeof restArbitrary>>();
  const restFor = (protocol: number | undefined) => {
    const known = rests.get(protocol) ?? restArbitrary(seat, protocol);
    rests.set(protocol, known);
    return known;
  };
  return headerArbitrary(seat).chain(({ matches: header, protocol }) =>
    restFor(protocol).map(({ extensions, target }): Rule => {
      // A rate limit means something to us only where the packet goes on in any case.
      const passing = target === undefined || target.kind === "log";
      const matches = [...header, ...extensions.filter(({ kind }) => passing || kind !== "limit")];
      return { matches, ...(target !== undefined && { target }) };
    }),
  );
}

function restArbitrary(seat: RuleSeat, protocol: number | undefined) {
  return fc.record({
    extensions: extensionMatchesArbitrary(seat, protocol),
    target: targetArbitrary(seat, protocol),
  });
}
