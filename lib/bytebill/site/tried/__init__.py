"""Do the built pages work? What `bytebill.site.browser` tries on them in headless Chromium."""
