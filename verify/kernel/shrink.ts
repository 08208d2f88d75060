/** A case in which something fails, made as small as it goes while it still fails. */
import type { ClusterModel, NetworkPolicy, PolicyPeer, PolicyRule } from "../../compiler/model.ts";
import type { Rule, TableProgram } from "../../dataplane/program.ts";

/** Whether the smaller case still fails. A case that cannot be tried at all (it does not compile) does not fail. */
export type StillFails<T> = (candidate: T) => Promise<boolean>;

/**
 * Takes the first of the smaller cases that still fails, and begins again with it, until none does or `budget` cases were
 * tried. Greedy: the result is small, not the smallest.
 */
export async function shrink<T>(
  failing: T,
  smaller: (value: T) => Iterable<T>,
  options: { readonly stillFails: StillFails<T>; readonly budget: number },
): Promise<T> {
  let smallest = failing;
  let left = options.budget;
  search: for (;;) {
    for (const candidate of smaller(smallest)) {
      if (left-- <= 0) return smallest;
      if (!(await options.stillFails(candidate))) continue;
      smallest = candidate;
      continue search;
    }
    return smallest;
  }
}

/** A list without a part of it: without either half first, then quarters, at last single items. */
export function* smallerLists<T>(list: readonly T[]): Generator<readonly T[]> {
  for (let size = Math.ceil(list.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let start = 0; start < list.length; start += size) {
      yield [...list.slice(0, start), ...list.slice(start + size)];
    }
  }
}

/** Each way to replace one item of a list by something smaller. */
function* smallerItems<T>(list: readonly T[], smaller: (item: T) => Iterable<T>): Generator<readonly T[]> {
  for (const [index, item] of list.entries()) {
    for (const candidate of smaller(item)) yield list.with(index, candidate);
  }
}

/** The cluster with fewer or simpler policies, then with fewer pods. */
export function* smallerClusters(model: ClusterModel): Generator<ClusterModel> {
  for (const policies of smallerLists(model.policies)) yield { ...model, policies };
  for (const endpoints of smallerLists(model.endpoints)) yield { ...model, endpoints };
  for (const policies of smallerItems(model.policies, smallerPolicies)) yield { ...model, policies };
}

function* smallerPolicies(policy: NetworkPolicy): Generator<NetworkPolicy> {
  for (const direction of ["ingress", "egress"] as const) {
    for (const rules of smallerLists(policy[direction])) yield { ...policy, [direction]: rules };
    for (const rules of smallerItems(policy[direction], smallerPolicyRules)) yield { ...policy, [direction]: rules };
  }
  if (policy.types.length > 1) for (const type of policy.types) yield { ...policy, types: [type] };
  const { matchLabels, matchExpressions } = policy.podSelector;
  if (matchLabels.length + matchExpressions.length > 0) {
    yield { ...policy, podSelector: { matchLabels: [], matchExpressions: [] } };
  }
}

function* smallerPolicyRules(rule: PolicyRule): Generator<PolicyRule> {
  for (const peers of smallerLists(rule.peers)) yield { ...rule, peers };
  for (const ports of smallerLists(rule.ports)) yield { ...rule, ports };
  for (const peers of smallerItems(rule.peers, smallerPeers)) yield { ...rule, peers };
}

function* smallerPeers(peer: PolicyPeer): Generator<PolicyPeer> {
  if (peer.kind !== "ipBlock") return;
  for (const [index] of peer.except.entries()) {
    yield { ...peer, except: peer.except.toSpliced(index, 1), exceptText: peer.exceptText.toSpliced(index, 1) };
  }
}

/** The program with fewer rules, matches and set members; chains, sets and attachment stay. */
export function* smallerPrograms(program: TableProgram): Generator<TableProgram> {
  for (const families of smallerLists(program.families)) {
    if (families.length > 0) yield { ...program, families };
  }
  for (const [at, { family, tables }] of program.families.entries()) {
    const withTables = (changed: typeof tables): TableProgram => ({
      ...program,
      families: program.families.with(at, { family, tables: changed }),
    });
    for (const fewer of smallerLists(tables)) if (fewer.length > 0) yield withTables(fewer);
    for (const [index, table] of tables.entries()) {
      for (const [position, chain] of table.chains.entries()) {
        for (const rules of [...smallerLists(chain.rules), ...smallerItems(chain.rules, smallerRules)]) {
          yield withTables(tables.with(index, { ...table, chains: table.chains.with(position, { ...chain, rules }) }));
        }
      }
    }
  }
  for (const [at, set] of program.sets.entries()) {
    for (const members of smallerLists(set.members)) {
      yield { ...program, sets: program.sets.with(at, { ...set, members }) };
    }
  }
}

function* smallerRules(rule: Rule): Generator<Rule> {
  for (const matches of smallerLists(rule.matches)) yield { ...rule, matches };
}
