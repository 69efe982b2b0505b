"""The unlearning methods, and what a method sees of a task."""
