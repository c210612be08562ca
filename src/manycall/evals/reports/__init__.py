"""Pages about what came out, for people: Markdown, or HTML that loads nothing and runs nothing."""
