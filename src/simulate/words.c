// SPDX-License-Identifier: MIT OR Apache-2.0
// The earlier a word stands in its table the more often it is drawn (fr_gen_skewed).
#include "words.h"

static const char *const en[] = {
    "the",
    "and",
    "to",
    "of",
    "a",
    "in",
    "is",
    "it",
    "that",
    "for",
    "this",
    "you",
    "on",
    "my",
    "with",
    "just",
    "not",
    "so",
    "but",
    "have",
    "are",
    "was",
    "what",
    "people",
    "time",
    "new",
    "today",
    "good",
    "when",
    "about",
    "they",
    "one",
    "more",
    "from",
    "day",
    "will",
    "really",
    "know",
    "think",
    "still",
    "work",
    "love",
    "week",
    "never",
    "right",
    "game",
    "story",
    "morning",
    "music",
    "art",
    "coffee",
    "weather",
    "river",
    "winter",
    "garden",
    "library",
    "station",
    "election",
    "protocol",
    "photograph",
    "neighbourhood",
    "beautiful",
    "remember",
    "something",
    "everyone",
    "against",
};
static const char *const ja[] = {
    "今日",     "の",         "は",       "が",         "て",     "です",     "ます",
    "を",       "に",         "も",       "した",       "この",   "から",     "って",
    "ない",     "いい",       "朝",       "夜",         "仕事",   "ごはん",   "楽しい",
    "すごい",   "ありがとう", "おはよう", "描きました", "見た",   "新しい",   "ゲーム",
    "本",       "映画",       "天気",     "雨",         "猫",     "犬",       "写真",
    "東京",     "週末",       "音楽",     "思う",       "好き",   "かわいい", "よかった",
    "食べたい", "眠い",       "ラーメン", "イラスト",   "アニメ", "電車",     "お疲れさま",
    "明日",
};
static const char *const pt[] = {
    "o",     "que",      "a",       "de",      "e",       "não",    "eu",
    "um",    "é",        "pra",     "com",     "uma",     "mas",    "muito",
    "hoje",  "meu",      "isso",    "gente",   "bom",     "dia",    "tudo",
    "mais",  "agora",    "quando",  "vida",    "casa",    "música", "jogo",
    "amigo", "trabalho", "saudade", "verdade", "ninguém", "amanhã", "cidade",
    "café",  "história", "coração", "eleição", "domingo", "livro",
};
static const char *const de[] = {
    "die",    "und",   "der",      "ich",        "das",        "nicht",     "ist",       "ein",
    "in",     "zu",    "es",       "auch",       "mit",        "so",        "aber",      "heute",
    "noch",   "mal",   "wir",      "schön",      "morgen",     "immer",     "wieder",    "Zeit",
    "Jahr",   "Leute", "Bahn",     "Kaffee",     "Wetter",     "Arbeit",    "Musik",     "Bücher",
    "Straße", "Wahl",  "Frühling", "Geschichte", "vielleicht", "natürlich", "gemütlich",
};
static const char *const es[] = {
    "que",    "de",      "la",     "el",     "y",        "no",      "en",     "me",      "un",
    "es",     "lo",      "por",    "hoy",    "con",      "una",     "pero",   "muy",     "más",
    "todo",   "bien",    "cuando", "gente",  "día",      "vida",    "noche",  "mañana",  "año",
    "amigos", "trabajo", "música", "libro",  "película", "corazón", "ciudad", "también", "siempre",
    "nunca",  "gracias", "fútbol", "lluvia", "domingo",
};
static const char *const fr[] = {
    "de",       "la",   "le",    "et",          "est",     "pas",      "les",   "un",
    "que",      "je",   "une",   "pour",        "des",     "en",       "mais",  "avec",
    "plus",     "très", "bien",  "aujourd'hui", "tout",    "quand",    "temps", "jour",
    "matin",    "soir", "année", "travail",     "musique", "livre",    "café",  "histoire",
    "élection", "été",  "hiver", "peut-être",   "déjà",    "toujours", "merci", "vélo",
};
static const char *const ko[] = {
    "오늘", "그리고", "너무", "진짜", "정말",   "나는", "이거",   "다시",       "좋은",   "하루",
    "아침", "밤",     "사람", "시간", "고양이", "커피", "그림",   "음악",       "영화",   "게임",
    "날씨", "비가",   "왔다", "먹고", "싶다",   "보고", "왔어요", "감사합니다", "귀여워",
};
static const char *const uk[] = {
    "і",        "не",    "в",     "на",     "я",     "що",    "це",     "так",    "але",    "як",
    "сьогодні", "добре", "ранок", "дуже",   "все",   "ще",    "день",   "люди",   "час",    "кіт",
    "кава",     "дощ",   "книга", "музика", "дякую", "місто", "завтра", "ніколи", "робота", "весна",
};
static const char *const zh[] = {
    "今天", "的",   "了",   "是",   "我", "不",   "在",   "有",   "很",   "这个",
    "天气", "真",   "好",   "吃",   "看", "朋友", "时间", "工作", "音乐", "电影",
    "早上", "晚安", "喜欢", "可爱", "猫", "城市", "新",   "开始", "一起", "明天",
};
static const char *const tr[] = {
    "bir",   "ve",    "bu",    "çok",    "için",        "ne",   "ama",   "gibi",  "daha",
    "bugün", "güzel", "iyi",   "gün",    "sabah",       "gece", "insan", "zaman", "kahve",
    "müzik", "kitap", "şehir", "yağmur", "teşekkürler", "hiç",  "şimdi", "yarın", "oyun",
};

#define TABLE(words) (words), FR_COUNT_OF(words)
const fr_gen_language fr_gen_languages[FR_GEN_LANGUAGE_COUNT] = {
    {"en", 5600, " ", ". ", TABLE(en)}, {"ja", 1900, "", "。", TABLE(ja)},
    {"pt", 800, " ", "! ", TABLE(pt)},  {"de", 500, " ", ". ", TABLE(de)},
    {"es", 400, " ", ". ", TABLE(es)},  {"fr", 250, " ", ". ", TABLE(fr)},
    {"ko", 200, " ", ". ", TABLE(ko)},  {"uk", 150, " ", ". ", TABLE(uk)},
    {"zh", 100, "", "，", TABLE(zh)},   {"tr", 100, " ", ". ", TABLE(tr)},
};

const char *const fr_gen_emoji[] = {
    "😂", "❤️",         "🔥", "✨", "😭", "💙", "🙏", "🎉", "👀", "🐈", "🌧️",
    "☕", "🏳️‍🌈", "💦", "📷"};
const uint32_t fr_gen_emoji_count = FR_COUNT_OF(fr_gen_emoji);

const char *const fr_gen_tags[] = {
    "art",      "photography", "news",       "booksky",    "cats",    "gamedev",
    "music",    "イラスト",    "NowPlaying", "politics",   "science", "birds",
    "football", "coffee",      "atproto",    "fotografie", "猫",      "vendredi"};
const uint32_t fr_gen_tag_count = FR_COUNT_OF(fr_gen_tags);

const char *const fr_gen_syllables[] = {"ka", "mi",  "ro", "lan", "te",  "so", "ber", "na",
                                        "vi", "dor", "el", "chi", "ma",  "zu", "fen", "po",
                                        "ri", "sta", "lu", "ge",  "ton", "ya", "qui", "hal"};
const uint32_t fr_gen_syllable_count = FR_COUNT_OF(fr_gen_syllables);
