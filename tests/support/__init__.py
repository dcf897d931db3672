"""What tests share: Monte-Carlo errors, models, the repository's folders. No test lies here, and no test imports another."""
