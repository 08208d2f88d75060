/** What a label selector means, written from apimachinery's description and used by the reference alone. */
import type { LabelRequirement, LabelSelector, Labels } from "../compiler/model.ts";

/** Whether every part of the selector holds; a selector without parts holds for anything (rows 3, 12, 16). */
export function selects(selector: LabelSelector, labels: Labels): boolean {
  return (
    selector.matchLabels.every(([key, value]) => labels.has(key) && labels.get(key) === value) &&
    selector.matchExpressions.every((requirement) => holds(requirement, labels))
  );
}

function holds(requirement: LabelRequirement, labels: Labels): boolean {
  const value = labels.get(requirement.key);
  switch (requirement.operator) {
    case "In":
      return value !== undefined && requirement.values.includes(value);
    case "NotIn":
      return value === undefined || !requirement.values.includes(value);
    case "Exists":
      return value !== undefined;
    case "DoesNotExist":
      return value === undefined;
  }
}
