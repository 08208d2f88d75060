/** Light, dark, or as the system has it. The page's style knows the first two: `data-theme` always says which. */
import { computed, effect, signal } from "@preact/signals";

export type Theme = "system" | "light" | "dark";

export const theme = signal<Theme>("system");

const NEXT = { system: "light", light: "dark", dark: "system" } as const satisfies Record<Theme, Theme>;

export function turnTheme(): void {
  theme.value = NEXT[theme.value];
}

const system = matchMedia("(prefers-color-scheme: dark)");
const isDark = signal(system.matches);
system.addEventListener("change", ({ matches }) => {
  isDark.value = matches;
});

/** What is shown: never `system`. */
export const shownTheme = computed(() => (theme.value === "system" ? (isDark.value ? "dark" : "light") : theme.value));

effect(() => {
  document.documentElement.dataset.theme = shownTheme.value;
});
