/** A report that is asked for again whenever what it depends on changes. */
import { useEffect, useState } from "preact/hooks";
import { report } from "./state.ts";

/** `result`: of the latest question alone, undefined until it is there. */
export interface Asked<T> {
  readonly result: T | undefined;
  readonly isRunning: boolean;
}

/** `ask`: undefined when there is nothing to ask. An answer that comes when something else is asked is nobody's. */
export function useReport<T>(ask: (() => Promise<T>) | undefined, depends: readonly unknown[]): Asked<T> {
  const [asked, set] = useState<Asked<T>>({ result: undefined, isRunning: false });
  useEffect(() => {
    let isLatest = true;
    set({ result: undefined, isRunning: ask !== undefined });
    ask?.().then(
      (result) => {
        if (isLatest) set({ result, isRunning: false });
      },
      (error: unknown) => {
        if (!isLatest) return;
        report(error);
        set({ result: undefined, isRunning: false });
      },
    );
    return () => {
      isLatest = false;
    };
  }, depends);
  return asked;
}
