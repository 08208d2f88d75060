/** LabelSelector matching, as apimachinery's pkg/labels/selector.go does it (semantics.md row 16). */
import type { LabelRequirement, LabelSelector, Labels } from "./model.ts";

/** Whether the labels satisfy the selector. An empty selector matches everything. */
export function matchesSelector(selector: LabelSelector, labels: Labels): boolean {
  return (
    selector.matchLabels.every(([key, value]) => labels.get(key) === value) &&
    selector.matchExpressions.every((requirement) => matchesRequirement(requirement, labels))
  );
}

/** `NotIn` and `DoesNotExist` hold when the key is absent; every other operator needs it. */
export function matchesRequirement({ key, operator, values }: LabelRequirement, labels: Labels): boolean {
  const value = labels.get(key);
  switch (operator) {
    case "In":
      return value !== undefined && values.includes(value);
    case "NotIn":
      return value === undefined || !values.includes(value);
    case "Exists":
      return value !== undefined;
    case "DoesNotExist":
      return value === undefined;
  }
}

/** Whether the selector asks for nothing, and so matches everything. */
export function isEmptySelector(selector: LabelSelector): boolean {
  return selector.matchLabels.length === 0 && selector.matchExpressions.length === 0;
}

/** Equal keys mean equal answers; the order of requirements and of their values does not matter. */
export function selectorKey(selector: LabelSelector): string {
  const requirements = [
    ...selector.matchLabels.map(([key, value]) => JSON.stringify([key, "In", value])),
    ...selector.matchExpressions.map(({ key, operator, values }) =>
      JSON.stringify([key, operator, ...[...new Set(values)].sort()]),
    ),
  ];
  return [...new Set(requirements)].sort().join("&");
}
