"""Words around numbers: unit names and their one spelling, currencies, number words. Tables only."""

import re

_GROUPS = {
    "$": "$ dollar dollars usd", "cent": "cent cents ¢", "€": "€ euro euros eur", "pound": "£ pound pounds gbp lb lbs",
    "¥": "¥ yuan rmb yen 元",
    "₹": "₹ rupee rupees rs", "%": "% percent", "°": r"° degree degrees deg ^\circ ^{\circ} 度",
    "m": "meter meters metre metres 米", "cm": "cm centimeter centimeters centimetre centimetres 厘米",
    "mm": "mm millimeter millimeters 毫米",
    "km": "km kms kilometer kilometers kilometre kilometres 千米 公里", "ft": "ft foot feet", "in": "inch inches", "yd": "yd yard yards",
    "mi": "mi mile miles", "g": "gram grams 克", "kg": "kg kgs kilogram kilograms 千克 公斤", "mg": "mg milligram milligrams",
    "ton": "ton tons 吨",
    "oz": "oz ounce ounces", "L": "liter liters litre litres 升", "mL": "ml milliliter milliliters 毫升", "s": "sec secs second seconds 秒",
    "min": "min mins minute minutes 分钟", "h": "hr hrs hour hours 小时", "day": "day days 天", "week": "week weeks 周",
    "month": "month months 月",
    "year": "year years yr yrs 年", "mph": "mph", "square": "square sq", "cubic": "cubic cu", "per": "per", "unit": "unit units",
    "cm2": "平方厘米",
    "m2": "平方米", "cm3": "立方厘米", "m3": "立方米", "rad": "radian radians rad", "Hz": "hz hertz",
    "J": "joule joules", "N": "newton newtons", "W": "watt watts", "K": "kelvin", "eV": "ev", "nm": "nm", "dm": "dm 分米",
}  # fmt: skip
UNITS: dict[str, str] = {word: name for name, words in _GROUPS.items() for word in words.split()}
"""Lower-case word or symbol -> the name all its spellings share. Single Latin letters are left out: bare, they are variables."""

KNOWN_UNITS = frozenset(UNITS.values())

CURRENCY = {"$": "$", "USD": "$", "€": "€", "£": "pound", "¥": "¥", "RMB": "¥", "₹": "₹", "Rs": "₹", "Rs.": "₹"}

SHORT_UNITS = frozenset(
    re.findall(
        r"\w+",
        """men man cup cups box bag bags car cars egg eggs dog dogs cat cats cow
        cows hen hens pig pigs pie pies toy toys pen pens kid kids hat
        hats cap caps bus can cans jar jars pan pans nut nuts bee bees ant ants fox owl way ways set sets bit bits""",
    )
)
"""Words of fewer than four letters that may follow a number as its unit; other short words may be products of variables."""

NOT_UNITS = frozenset(
    re.findall(
        r"\w+",
        """i e x y z pi and or to if for where with when sin cos tan cot sec csc log ln exp sqrt hundred thousand million billion trillion
        dozen half third thirds quarter quarters plus minus times divided over mod squared cubed factorial about approximately pm am
        或 和 且 万 亿 千 百 十 上 下 不 到 之间""",
    )
)
"""What after a number is mathematics or changes the number, never a unit."""

_SMALL = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
WORD_NUMBERS: dict[str, int] = {
    **{word: i for i, word in enumerate(re.findall(r"\w+", _SMALL))},
    **{word: 10 * i for i, word in enumerate(re.findall(r"\w+", _TENS), 2)},
}
"""Number words of one token."""
