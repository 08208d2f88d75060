/** What the listener neglects on its way to the agents, which can be switched off. */
import { type Lapse, switched } from "../strategy.ts";

export const CHANGED_POLICIES_IGNORED: Lapse = switched({
  name: "changed-policies-ignored",
  summary:
    "the listener looks at added and deleted policies alone: a changed one stays in force as it was until deleted",
  source: "romana/core 6139692f listener/resources.go; dumps/updates/romana/NOTES.md, policy-churn steps 3 to 8",
  scenario: "romana-changed-policies-ignored",
});

export const UNREAD_ANNOTATION_IGNORED: Lapse = switched({
  name: "unread-annotation-ignored",
  summary:
    "an annotation for isolation that cannot be decoded changes nothing: a namespace that had another before stays open or closed by it",
  source: "romana/core 6139692f listener/resources.go HandleDefaultPolicy",
  scenario: "romana-unread-annotation-ignored",
});
