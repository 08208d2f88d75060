/** The members of a set, fetched when somebody opens it. */
import { useEffect, useState } from "preact/hooks";
import type { SetView } from "./messages.ts";
import { askAbout, report, strategy, target } from "./state.ts";

export function SetPanel({ node, set }: { readonly node: string; readonly set: string }) {
  const [found, setFound] = useState<SetView | undefined>(undefined);
  useEffect(() => {
    askAbout("set", { strategy: strategy.value, target: target.value, node, set }, `set ${set}`)
      .then(setFound)
      .catch(report);
  }, [node, set]);
  if (found === undefined) return <p class="faint">…</p>;
  return (
    <div class="members">
      <p class="faint">
        {found.type}, {found.count.toLocaleString("en")} {found.count === 1 ? "member" : "members"}
      </p>
      <ul>
        {found.members.map((member) => (
          <li key={member}>
            <code>{member}</code>
          </li>
        ))}
        {found.count > found.members.length && <li>and {found.count - found.members.length} more</li>}
      </ul>
    </div>
  );
}
