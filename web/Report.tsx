/** The text of a command, as it is. */
export function Report({ title, lines }: { readonly title: string; readonly lines: readonly string[] }) {
  return (
    <section
      class="text"
      aria-label={`Report of ${title}`}
      // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reached by the keyboard (WCAG 2.1.1)
      tabIndex={0}
    >
      <pre>{lines.join("\n")}</pre>
    </section>
  );
}
