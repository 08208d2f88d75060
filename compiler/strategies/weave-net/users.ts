/**
 * Who uses a set, a block's excepts or a rule: they live while somebody does. Source: weave npc/selector.go, npc/rule.go and
 * npc/ipblock.go, provision and deprovision.
 */

/** Something several policies of a namespace may use. */
export interface Shared<Spec> {
  readonly spec: Spec;
  readonly users: Set<string>;
}

/** The specs of one analysis that the other lacks. */
export function leaving<Spec>(of: ReadonlyMap<string, Spec>, than: ReadonlyMap<string, Spec>): readonly Spec[] {
  return [...of].flatMap(([key, spec]) => (than.has(key) ? [] : [spec]));
}

/** Whether nobody uses it yet; if somebody does, the user is one more. */
export function isNew<Spec extends { readonly key: string }>(
  shared: ReadonlyMap<string, Shared<Spec>>,
  { key }: Spec,
  user: string,
): boolean {
  const known = shared.get(key);
  known?.users.add(user);
  return known === undefined;
}

export function isFirstUser<Spec extends { readonly key: string }>(
  shared: Map<string, Shared<Spec>>,
  spec: Spec,
  user: string,
): boolean {
  if (!isNew(shared, spec, user)) return false;
  shared.set(spec.key, { spec, users: new Set([user]) });
  return true;
}

/**
 * Takes a user away; of the last one, and of one that never came to have it, `end` is carried out. Where that fails it is
 * still taken to be there.
 */
export function release<Spec extends { readonly key: string }>(
  shared: Map<string, Shared<Spec>>,
  spec: Spec,
  user: string,
  end: (spec: Spec) => void,
): void {
  const users = shared.get(spec.key)?.users;
  users?.delete(user);
  if (users !== undefined && users.size > 0) return;
  end(spec);
  shared.delete(spec.key);
}
