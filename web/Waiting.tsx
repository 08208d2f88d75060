/** Something takes its time; it can be stopped. */
import { reports } from "./state.ts";

export function Waiting({ what }: { readonly what: string }) {
  return (
    <p class="waiting" role="status">
      {what}…{" "}
      <button type="button" onClick={() => reports.cancel()}>
        Stop
      </button>
    </p>
  );
}
