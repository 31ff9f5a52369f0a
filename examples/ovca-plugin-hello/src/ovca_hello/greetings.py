"""What is said in which language: the part of the plugin that knows nothing of ovca."""

GREETINGS = {'de': 'Guten Tag', 'en': 'Hello', 'fr': 'Bonjour'}


def greeting(name: str, language: str) -> str:
    """Greet somebody by name."""
    return f'{GREETINGS[language]}, {name}!'
