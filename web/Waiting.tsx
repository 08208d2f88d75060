/** Something takes its time; it can be stopped. */
import { client } from "./state.ts";

export function Waiting({ what }: { readonly what: string }) {
  return (
    <p class="waiting" role="status">
      {what}…{" "}
      <button type="button" onClick={() => client.cancel()}>
        Stop
      </button>
    </p>
  );
}
