/** A view that is fetched when it is first looked at. */
import { signal } from "@preact/signals";
import type { FunctionComponent } from "preact";
import { report } from "./state.ts";

export function lazily(what: string, load: () => Promise<FunctionComponent>): FunctionComponent {
  const view = signal<FunctionComponent | undefined>(undefined);
  let isAsked = false;
  const ask = async () => {
    isAsked = true;
    try {
      view.value = await load();
    } catch (error) {
      // The server has ended, mostly.
      isAsked = false;
      report(new Error(`${what} cannot be fetched: ${error instanceof Error ? error.message : String(error)}`));
    }
  };
  return function Lazily() {
    const View = view.value;
    if (View !== undefined) return <View />;
    if (!isAsked) void ask();
    return (
      <p class="waiting" role="status">
        {what}…
      </p>
    );
  };
}
