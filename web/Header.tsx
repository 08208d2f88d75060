/** The line above all: what is shown, by whose rules, and the link to it. */
import { useState } from "preact/hooks";
import { NAMES } from "./bundled.ts";
import { recording } from "./replayed.ts";
import type { View } from "./sharedState.ts";
import { chooseStrategy, linkNow, loaded, openBundled, origin, strategy, view } from "./state.ts";
import { theme, turnTheme } from "./theme.ts";

const TABS: readonly (readonly [view: View, label: string])[] = [
  ["walk", "Walk"],
  ["matrix", "Matrix"],
  ["compare", "Compare"],
  ["timeline", "Timeline"],
  ["replay", "Replay"],
];

export function Header() {
  const from = origin.value;
  return (
    <header class="top">
      <h1>
        chain<span>walk</span>
      </h1>
      <label>
        <span class="label">Scenario</span>
        <select
          id="scenario"
          value={from.kind === "bundled" ? from.name : ""}
          onChange={({ currentTarget }) => {
            if (currentTarget.value !== "") void openBundled(currentTarget.value);
          }}
        >
          <option value="">{from.kind === "served" ? "your manifests" : "your own"}</option>
          {NAMES.map((name) => (
            <option key={name}>{name}</option>
          ))}
        </select>
      </label>
      <label>
        <span class="label">Rules of</span>
        <select
          id="strategy"
          value={strategy.value}
          onChange={({ currentTarget }) => void chooseStrategy(currentTarget.value)}
        >
          {(loaded.value?.strategies ?? [{ name: strategy.value, summary: "" }]).map(({ name, summary }) => (
            <option key={name} value={name} title={summary}>
              {name}
            </option>
          ))}
        </select>
      </label>
      <nav class="tabs" aria-label="Views">
        {TABS.map(([name, label]) => (
          <button
            type="button"
            key={name}
            aria-current={view.value === name ? "page" : undefined}
            onClick={() => {
              view.value = name;
            }}
          >
            {label}
          </button>
        ))}
      </nav>
      <span class="spring" />
      <Share />
      <button
        type="button"
        class="quiet"
        onClick={turnTheme}
        aria-label={`Theme: ${theme.value}`}
        title={`Theme: ${theme.value}`}
      >
        {theme.value === "dark" ? "☾" : theme.value === "light" ? "☀" : "◐"}
      </button>
    </header>
  );
}

const SAID_MS = 2_000;

function Share() {
  const [label, setLabel] = useState("Copy link");
  const copy = async () => {
    const link = await linkNow();
    const { name: left } = recording.value?.text === undefined ? (recording.value ?? {}) : {};
    history.replaceState(undefined, "", link.slice(link.indexOf("#")));
    try {
      await navigator.clipboard.writeText(link);
      setLabel(left === undefined ? "Copied" : `Copied, without ${left}`);
    } catch {
      // Not every page may write to the clipboard; the address bar has the link in any case.
      setLabel("It is in the address");
    }
    setTimeout(() => setLabel("Copy link"), SAID_MS);
  };
  return (
    <button type="button" onClick={copy} aria-live="polite">
      {label}
    </button>
  );
}
