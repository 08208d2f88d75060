/**
 * Which policies a change can touch, found without reading them: each policy's namespace, and whether it selects pods of
 * other namespaces, as a small number beside it.
 */
import { MappedAgain, rememberedBy } from "./again.ts";
import type { NetworkPolicy, PolicyRule } from "./model.ts";

const LATEST = new WeakMap<WeakKey, PolicyScopes>();

/** The scopes of the states of one lineage. */
export function policyScopes(lineage: WeakKey): PolicyScopes {
  return rememberedBy(LATEST, lineage, () => new PolicyScopes());
}

export class PolicyScopes {
  readonly #namespaces = new Map<string, number>();
  readonly #mapped = new MappedAgain<NetworkPolicy, number>();

  /** A number for each policy: twice that of its namespace, and one more when it selects by namespace. */
  of(policies: readonly NetworkPolicy[]): readonly number[] {
    return this.#mapped.of(policies, (policy) => 2 * this.#ordinal(policy.namespace) + (selectsFar(policy) ? 1 : 0));
  }

  /** By scope: 1 for policies of these namespaces, and with `far` for all that select by namespace. */
  flags(namespaces: Iterable<string>, far: "far" | "near" = "near"): Uint8Array {
    const flags = new Uint8Array(2 * this.#namespaces.size);
    if (far === "far") for (let scope = 1; scope < flags.length; scope += 2) flags[scope] = 1;
    for (const name of namespaces) {
      const ordinal = this.#namespaces.get(name);
      if (ordinal !== undefined) flags.fill(1, 2 * ordinal, 2 * ordinal + 2);
    }
    return flags;
  }

  #ordinal(namespace: string): number {
    const ordinal = this.#namespaces.get(namespace) ?? this.#namespaces.size;
    this.#namespaces.set(namespace, ordinal);
    return ordinal;
  }
}

function selectsFar({ ingress, egress }: NetworkPolicy): boolean {
  const inRules = (rules: readonly PolicyRule[]) =>
    rules.some(({ peers }) => peers.some((peer) => peer.kind === "pods" && peer.namespaceSelector !== undefined));
  return inRules(ingress) || inRules(egress);
}

/** Those of a list whose scope is flagged. */
export function inScopes<T>(items: readonly T[], scopes: readonly number[], flags: Uint8Array): readonly T[] {
  const found: T[] = [];
  for (let index = 0; index < items.length; index++) {
    if (flags[scopes[index] as number] === 1) found.push(items[index] as T);
  }
  return found;
}
