/** The filter of a replay, as plain data and as what it does. */
import type { ClusterModel } from "../../compiler/model.ts";
import type { IpAddress } from "../../dataplane/address.ts";
import type { AddressBook } from "../owners.ts";
import type { FlowFilter } from "../replay.ts";
import { type FilterProblem, parseExpression } from "./expression.ts";
import { type HubbleTerm, hubbleFilter, hubbleProblem } from "./hubble.ts";
import { isFilterProblem, predicateOf } from "./predicate.ts";

export interface FilterSetup {
  /** In tcpdump's words. */
  readonly expression?: string;
  readonly hubble: readonly HubbleTerm[];
  /** Of pods named without one. */
  readonly namespace: string;
}

/** What is wrong with a filter, for people, in lines. */
export interface FilterRefusal {
  readonly refusal: readonly string[];
}

/** Undefined: everything is wanted. */
export function filterOf(
  setup: FilterSetup,
  models: readonly ClusterModel[],
  book: AddressBook,
): FlowFilter | FilterRefusal | undefined {
  const { expression, hubble, namespace } = setup;
  if (expression === undefined && hubble.length === 0) return undefined;
  const problems = hubble.flatMap((term) => hubbleProblem(term) ?? []);
  if (problems.length > 0) return { refusal: problems };
  const words = hubbleFilter(hubble, book, namespace);
  if (expression === undefined || expression.trim() === "") return words;
  const parsed = parseExpression(expression);
  const refused = ({ problem, column }: FilterProblem): FilterRefusal => ({
    refusal: [`--filter, column ${column}: ${problem}`, `  ${expression}`, `  ${" ".repeat(column - 1)}^`],
  });
  if (isFilterProblem(parsed)) return refused(parsed);
  let predicate = predicateOf(parsed, (name) => someOf(addressesOf(name, models, namespace)));
  if (isFilterProblem(predicate)) return refused(predicate);
  return {
    ...words,
    opens: (batch, row) => !isFilterProblem(predicate) && predicate(batch, row) && words.opens(batch, row),
    // A name that nobody has at the moment is one that somebody has at another.
    step: ({ model }) => {
      predicate = predicateOf(parsed, (name) => addressesOf(name, [model], namespace));
    },
  };
}

function someOf(addresses: readonly IpAddress[]): readonly IpAddress[] | undefined {
  return addresses.length === 0 ? undefined : addresses;
}

/** All addresses of a pod or `node:NAME` in any of the models. */
function addressesOf(name: string, models: readonly ClusterModel[], namespace: string): readonly IpAddress[] {
  const key = name.includes("/") ? name : `${namespace}/${name}`;
  return models.flatMap(({ nodes, endpoints }) =>
    name.startsWith("node:")
      ? nodes.filter((node) => `node:${node.name}` === name).flatMap(({ addresses }) => addresses)
      : endpoints.filter((pod) => pod.key === key).flatMap(({ addresses }) => addresses),
  );
}
