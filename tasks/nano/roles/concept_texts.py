"""The concepts of the nano world as a curriculum would put them: what extractors answer with and what briefs ask for."""

TEXTS = {
    "gain": "Adding a whole number to a quantity",
    "loss": "Subtracting a whole number from a quantity",
    "times": "Multiplying a quantity by a whole number",
    "share": "Dividing a quantity into equal shares",
    "percent": "Reducing a quantity by a percentage",
    "ratio": "Splitting a quantity in a given ratio",
    "rate": "Adding the total of equal amounts at a constant rate",
    "average": "Computing the mean of three numbers",
    "remainder": "Finding the remainder of a division",
    "gcd": "Finding the greatest common divisor",
    "lcm": "Finding the least common multiple",
    "sequence": "Finding a term of an arithmetic sequence",
    "linear": "Solving a linear equation in one unknown",
    "perimeter": "Computing the perimeter of a rectangle",
    "rectangle": "Computing the area of a rectangle",
    "triangle": "Computing the area of a triangle",
    "combinations": "Counting combinations by multiplying choices",
    "probability": "Computing the probability of a single draw",
}
"""Concept name -> its text."""

NAMES = {text: name for name, text in TEXTS.items()}
"""Text -> concept name."""
