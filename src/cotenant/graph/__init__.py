"""A model file becomes something that can be run: loading, the zoo, cutting into segments."""
